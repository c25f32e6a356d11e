from larder import SETTINGS


def volume(millilitres):
    """Return a volume."""
    return f"{millilitres} {SETTINGS['MILLILITRE']}"
