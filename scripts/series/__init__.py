"""The patches: read, check, apply to a release, import as a branch and export from it."""
