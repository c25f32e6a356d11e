"""Uploading the wheel to a package index."""
