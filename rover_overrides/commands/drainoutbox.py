"""The command `manage.py drainoutbox`: tell Redis what writers could not tell it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rover_overrides.operations import outbox


class Command(BaseCommand):
    """Drop the results of all tables that wait in the outbox of any database."""

    help = "Drop cached results of tables that were written while Redis was away"

    def handle(self, **_: Any) -> None:
        """Do it, and say how many rows there were."""
        for using in outbox.aliases():
            self.stdout.write(f"{using}: {outbox.drain(using)} drained")
