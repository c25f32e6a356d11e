"""Reaches what only some releases have."""

from importlib import import_module


def need(path):
    """Return what the dotted path names; a release that lacks it fails the test, in plain words."""
    module, name = path.rsplit(".", 1)
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise AssertionError("upstream has no %s" % path) from None
