"""The patches: read, check, and apply to a release."""
