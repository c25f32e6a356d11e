"""Build, describe, number and verify the wheel."""
