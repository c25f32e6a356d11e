"""Reports made up for tests."""

from pathlib import Path

from scripts.core.model import (
    Feature,
    Patch,
    State,
)


def feature(name, state=State.ACTIVE, **fields):
    """Return the one feature of a patch without a file."""
    path = Path(f"{name}.patch")
    return Feature(name, Patch(path, state, name, "", "1", ""), path, "", **fields)
