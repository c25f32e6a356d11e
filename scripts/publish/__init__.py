"""Upload the wheel to a package index."""
