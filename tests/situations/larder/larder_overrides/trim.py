"""Headings without white space around them."""


def trim(text):
    """Remove white space at both ends."""
    return text.strip()
