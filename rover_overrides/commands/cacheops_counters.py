"""The command `manage.py cacheops_counters`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rover_overrides.metrics import counters


class Command(BaseCommand):
    """Show what the cache did."""

    help = "Shows hits, misses, refused fills, and drops by table and shape."

    def handle(self, **_: Any) -> None:
        """Print a line a number."""
        for name, number in counters.totals().items():
            self.stdout.write(f"{number:12}  {name}")
