"""Switches, invalidation modes and warnings: the modules that every other folder may import."""
