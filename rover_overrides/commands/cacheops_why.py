"""The command `manage.py cacheops_why`."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from rover_overrides.operations.explain import explain


class Command(BaseCommand):
    """List what a save of a row would invalidate."""

    help = "Lists the conditions by which a save of a row would drop cached results."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the row and the database."""
        parser.add_argument("row", help="app.Model.pk")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS)

    def handle(self, row: str, database: str, **_: Any) -> None:
        """Print each table, followed by the conditions that the row meets."""
        try:
            app, name, pk = row.split(".", 2)
            model = apps.get_model(app, name)
            tables = explain(model, model._meta.pk.to_python(pk), database)
        except Exception as error:
            raise CommandError(f"{row}: {error}") from error
        for table in tables:
            self.stdout.write(
                f"{table.name}: meets {len(table.reasons)}, of {table.known} comparisons in use"
            )
            for reason in table.reasons:
                self.stdout.write(
                    f"    {reason.condition}{'' if reason.in_use else '  (nothing cached)'}"
                )
