"""Keeps results, and writes labels for them."""

SETTINGS = {"ENABLED": True, "FOLD": False, "MILLILITRE": "ml"}


def configure(**settings):
    """Change settings."""
    SETTINGS.update(settings)
