"""The command `manage.py cacheops_counters`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rover_overrides.metrics import counters


class Command(BaseCommand):
    """Show the counters of the cache."""

    help = "Shows hits, misses, refused fills, and drops by table and comparison."

    def handle(self, **_: Any) -> None:
        """Print one line per counter."""
        for name, number in counters.totals().items():
            self.stdout.write(f"{number:12}  {name}")
