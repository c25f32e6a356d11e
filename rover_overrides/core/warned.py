"""Warnings of the cache's own, for whoever runs the site: none breaks the read or write in which it is given."""

from __future__ import annotations

import logging
import warnings

_logger = logging.getLogger(__name__)


def warn(said: str, *, stacklevel: int = 1) -> None:
    """Give a RuntimeWarning, seen from the caller; where the application has warnings raised it goes to the log instead."""
    try:
        warnings.warn(said, RuntimeWarning, stacklevel=stacklevel + 1)
    except RuntimeWarning:
        _logger.warning("%s", said)
