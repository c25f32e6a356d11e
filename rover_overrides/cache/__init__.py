"""Reads and stores results, using leases and registries."""
