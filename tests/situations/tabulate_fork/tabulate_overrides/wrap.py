"""Cells that are wider than their column may be."""

import textwrap


def wrapped(rows, widths):
    """Return rows whose text is wrapped to the width of its column; None leaves a column as it is."""
    if widths is None:
        return rows
    return [
        [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)] for row in rows
    ]


def _wrapped(cell, width):
    return "\n".join(textwrap.wrap(str(cell), width)) if width else cell
