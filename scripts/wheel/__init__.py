"""The wheel: built, described, numbered and verified."""
