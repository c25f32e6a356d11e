"""From recorded changes to deleted stamps: before the COMMIT, after it, and while Redis is away."""
