"""The patches: read, checked, applied to a release, imported as a branch and exported from it."""
