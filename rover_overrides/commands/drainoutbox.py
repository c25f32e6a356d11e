"""The command `manage.py drainoutbox`: invalidate what writers without Redis could not."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rover_overrides.operations import outbox


class Command(BaseCommand):
    """Invalidate all results of the tables in the outbox of each database."""

    help = "Drop cached results of tables that were written while Redis was away"

    def handle(self, **_: Any) -> None:
        """Drain each outbox, and print how many rows it had."""
        for using in outbox.aliases():
            self.stdout.write(f"{using}: {outbox.drain(using)} drained")
