"""Warnings for the operators of the site; none breaks the read or write that issues it."""

from __future__ import annotations

import logging
import warnings

_logger = logging.getLogger(__name__)


def warn(said: str, *, stacklevel: int = 1) -> None:
    """Issue a RuntimeWarning for the caller's line.

    If the application turns warnings into errors, log it instead.
    """
    try:
        warnings.warn(said, RuntimeWarning, stacklevel=stacklevel + 1)
    except RuntimeWarning:
        _logger.warning("%s", said)
