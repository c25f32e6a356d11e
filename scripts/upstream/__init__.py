"""Upstream's releases: pinned, downloaded, checked, and written into the private repository and `upstream/src/`."""
