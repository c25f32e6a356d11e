def volume(millilitres):
    """Return a volume."""
    return f"{millilitres} ml"
