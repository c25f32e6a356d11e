"""Warnings for the operators of the site; none fails the read or write that issues it."""

from __future__ import annotations

import logging
import warnings

_logger = logging.getLogger(__name__)


def warn(message: str, *, stacklevel: int = 1) -> None:
    """Issue a RuntimeWarning for the caller's line.

    If the application turns warnings into errors, log it instead.
    """
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel + 1)
    except RuntimeWarning:
        _logger.warning("%s", message)
