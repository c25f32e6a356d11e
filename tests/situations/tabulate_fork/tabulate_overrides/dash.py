"""What a cell without anything in it looks like."""

DASH = "-"


def is_blank(value):
    """Tell whether a cell has nothing to show."""
    return value is None or value == ""
