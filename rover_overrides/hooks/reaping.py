"""The function that upstream's `reap_conjs()` calls."""

from __future__ import annotations

import logging
from importlib import import_module

from cacheops.conf import settings

from rover_overrides.core.switches import is_installed

_logger = logging.getLogger("cacheops.reaper")


def reclaim_instead(*, dry_run: bool) -> bool:
    """Reclaim dead results, and return whether upstream has nothing left to reap.

    Under INSIDEOUT the conj keys are stamps, not sets, so there are no conj sets to reap.
    """
    if not settings.CACHEOPS_INSIDEOUT:
        return False
    if is_installed("queued-work"):
        import_module("rover_overrides.operations.reclaim").reclaim(dry_run=dry_run)
    else:
        _logger.info("Nothing to reap, no conj sets are kept under CACHEOPS_INSIDEOUT")
    return True
