"""Numbers of what the cache does."""
