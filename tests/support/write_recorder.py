"""The tables of `write_models` on a database, and what the hooks record of their writes."""

from django.db import connections

from rover_overrides.invalidation import two_phase
from tests.support.write_models import models

COARSE = (None, None)  # a coarse change


def create_tables(alias):
    with connections[alias].schema_editor() as editor:
        for model in models.MODELS:
            editor.create_model(model)
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":  # the tests give small keys themselves
            cursor.execute("SELECT sequencename FROM pg_sequences")
            for (name,) in cursor.fetchall():
                cursor.execute(f'ALTER SEQUENCE "{name}" RESTART WITH 1000')


def empty_tables(alias):
    with connections[alias].cursor() as cursor:
        for model in reversed([models.Book.tags.through, *models.MODELS]):
            cursor.execute(f'DELETE FROM "{model._meta.db_table}"')


def drop_tables(alias):
    connection = connections[alias]
    with connection.cursor() as cursor:
        for table in (
            name
            for name in connection.introspection.table_names(cursor)
            if name.startswith("write_models_")
        ):
            cursor.execute(
                f'DROP TABLE "{table}"' + (" CASCADE" if connection.vendor == "postgresql" else "")
            )


class WriteRecorder:
    """Stands in for the invalidation: keeps the alias and the changes of each call, those announced once they are complete."""

    def __init__(self):
        self.calls = []

    def install(self, monkeypatch):
        """Take the place of the invalidation for a test."""
        monkeypatch.setattr(two_phase, "invalidate", self.invalidate)
        monkeypatch.setattr(two_phase, "prepare", lambda using, changes: (using, list(changes)))
        monkeypatch.setattr(two_phase, "finish", self._complete)
        monkeypatch.setattr(two_phase, "send_signals", lambda changes: None)
        return self

    def _complete(self, using, prepared, changes, *, was_committed):
        assert prepared == (using, list(changes))
        if was_committed:
            self.invalidate(using, changes)

    def invalidate(self, using, changes):
        self.calls.append((using, list(changes)))

    def take_changes(self):
        """Return the changes, (table, old, new), without the app's prefix, and forget them."""
        changes = [
            (change.table.replace("write_models_", ""), change.old, change.new)
            for _, all_ in self.calls
            for change in all_
        ]
        self.calls.clear()
        return changes


def some_columns(row, *names):
    """Return some columns of a row."""
    return None if row is None else {name: row[name] for name in names if name in row}
