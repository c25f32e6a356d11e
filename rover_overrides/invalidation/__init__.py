"""From recorded changes to deleted stamps: before the COMMIT, after it, and when Redis does not answer."""
