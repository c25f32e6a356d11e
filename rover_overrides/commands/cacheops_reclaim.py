"""The command `manage.py cacheops_reclaim`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from rover_overrides.operations.reclaim import reclaim


class Command(BaseCommand):
    """Free dead results."""

    help = "Frees results that a write has outdated, in small steps."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--match", default="*", help="pattern of keys, such as PREFIX*")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, match: str, dry_run: bool, **_: Any) -> None:
        """Free the dead results, and print how many results there were."""
        found = reclaim(match, dry_run=dry_run)
        self.stdout.write(f"{found.results} results, {found.dead} of them dead")
