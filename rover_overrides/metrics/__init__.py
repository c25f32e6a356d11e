"""Counters of what the cache does."""
