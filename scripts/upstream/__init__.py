"""Upstream's releases: pin, download, verify and write them to the private repository and to disk.

The locked release is written to `upstream/src/`.
"""
