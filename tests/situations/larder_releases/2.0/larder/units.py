def weight(grams):
    """Return a weight."""
    return f"{grams} g"


def with_unit(number, unit):
    """Return a number with its unit."""
    return f"{number} {unit}"
