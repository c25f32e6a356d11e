"""Keeps results, and writes labels for them."""

SETTINGS = {"ENABLED": True}


def configure(**settings):
    """Change settings."""
    SETTINGS.update(settings)
