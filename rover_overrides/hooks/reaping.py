"""The function that upstream's `reap_conjs()` calls."""

from __future__ import annotations

import logging
from importlib import import_module

from cacheops.conf import settings

from rover_overrides.core.switches import applied

_logger = logging.getLogger("cacheops.reaper")


def is_reaped(*, dry_run: bool) -> bool:
    """Return whether upstream has nothing left to reap.

    Under INSIDEOUT the conj keys are stamps, not sets, and dead results are reclaimed instead.
    """
    if not settings.CACHEOPS_INSIDEOUT:
        return False
    if applied("queued-work"):
        import_module("rover_overrides.operations.reclaim").reclaim(dry_run=dry_run)
    else:
        _logger.info("Nothing to reap, no conj sets are kept under CACHEOPS_INSIDEOUT")
    return True
