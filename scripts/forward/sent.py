"""Record in a patch's file where it was sent; nothing else of the file changes but its day."""

from __future__ import annotations

from datetime import datetime

from scripts.core.errors import UsageError
from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository, write_atomically
from scripts.forward.patches import live_patch
from scripts.series.field_checks import form_problems
from scripts.series.patch_file import with_trailers
from scripts.series.series import read_series


def record_sent(repo: Repository, name: str, address: str) -> bool:
    """Set a live patch's `Forwarded:`; return whether that changed anything.

    Raises UsageError for what is no address.
    """
    with repo.exclusive():
        patch = live_patch(read_series(repo, read_lock(repo.lock_file)), name)
        if any(form_problems([("Forwarded", address)], name)) or not address.startswith("http"):
            raise UsageError(
                f"{address!r} is no address",
                hint=f"nox -s forward -- {name} --sent https://...",
            )
        if ("Forwarded", address) in patch.trailers:
            return False
        today = datetime.now().astimezone().date().isoformat()
        changes = {"Forwarded": address, "Last-Update": today}
        write_atomically(patch.path, with_trailers(patch.path.read_bytes(), changes))
        return True
