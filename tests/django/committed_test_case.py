"""`TestCase` without its transaction: what a test writes is committed, and the tables that it wrote are emptied after it.

In Django's own `TestCase` all is one transaction in which something has been written, so that hardly anything is ever cached.
"""

import re
from collections import Counter, defaultdict
from contextlib import nullcontext

from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connections
from django.db.backends.base import base
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from django.db.backends.utils import CursorWrapper
from django.test.testcases import TestCase, TestData

WRITE = re.compile(
    r"""\s*(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM(?:\s+ONLY)?)\s+["`]?([^\s"`(]+)""",
    re.IGNORECASE,
)

_written = defaultdict(set)
_initial = {}
writes = Counter()
"""How many writing statements there were, by alias."""


def install(connections_to_restore):
    """Take the transaction from `TestCase`, and keep what the tables of the databases hold before the first test."""
    _record_writes()
    _hide_transactions()
    for connection in connections_to_restore:
        _initial[connection.alias] = dict(_rows(connection))
    TestCase._databases_support_transactions = classmethod(lambda cls: False)
    TestCase._should_reload_connections = lambda self: False
    TestCase._fixture_setup = classmethod(_fixture_setup)
    TestCase._fixture_teardown = _fixture_teardown


def _record_writes():
    """Note which tables are written, whoever writes them."""
    execute, executemany = CursorWrapper.execute, CursorWrapper.executemany

    def seen_execute(self, sql, *args, **kwargs):
        _record_write(self.db.alias, sql)
        return execute(self, sql, *args, **kwargs)

    def seen_executemany(self, sql, *args, **kwargs):
        _record_write(self.db.alias, sql)
        return executemany(self, sql, *args, **kwargs)

    CursorWrapper.execute, CursorWrapper.executemany = seen_execute, seen_executemany


def _hide_transactions():
    """Count no BEGIN and no COMMIT: Django's own `TestCase` issues neither where a test counts queries."""
    begin = SQLite._start_transaction_under_autocommit

    def hidden_begin(self):
        kept = self.force_debug_cursor, self.execute_wrappers
        self.force_debug_cursor, self.execute_wrappers = False, []
        try:
            begin(self)
        finally:
            self.force_debug_cursor, self.execute_wrappers = kept

    SQLite._start_transaction_under_autocommit = hidden_begin
    base.debug_transaction = lambda connection, sql: nullcontext()


def _record_write(alias, sql):
    found = WRITE.match(sql) if isinstance(sql, str) else None
    if found:
        writes[alias] += 1
        _written[alias].add(found[1])


def _fixture_setup(cls):
    """Make a class's data anew for each test; as `TestCase` does, hand out copies of it."""
    if cls.reset_sequences:
        raise TypeError("reset_sequences cannot be used on TestCase instances")
    for alias in cls._databases_names(include_mirrors=False):
        restore_tables(connections[alias])  # a test whose data could not be made has no teardown
        if cls.fixtures:
            call_command("loaddata", *cls.fixtures, verbosity=0, database=alias)
    before = cls.__dict__.copy()
    cls.setUpTestData()
    for name, value in cls.__dict__.copy().items():
        if value is not before.get(name):
            setattr(cls, name, TestData(name, value))


def _fixture_teardown(self):
    import read_comparison

    try:
        read_comparison.repeat_reads()
        for alias in reversed(self._databases_names()):
            connection = connections[alias]
            if not connection.in_atomic_block and self._should_check_constraints(connection):
                connection.check_constraints()
    finally:
        for alias in self._databases_names(include_mirrors=False):
            restore_tables(connections[alias])


def restore_tables(connection):
    """Empty the tables that were written and put back what they held at first, past everybody who watches Django."""
    written = _written.pop(connection.alias, set())
    if not written:
        return
    connection.ensure_connection()
    connection.connection.rollback()  # what a failed statement left open
    with (
        connection.connection.cursor()
        if connection.vendor == "postgresql"
        else _Closing(connection) as cursor
    ):
        there = {
            info.name
            for info in connection.introspection.get_table_list(cursor)
            if info.type in {"t", "p"}
        }
        cursor.execute("BEGIN")
        for sql in _delete_statements(connection, sorted(written & there)):
            cursor.execute(sql)
        for table in _initial.get(connection.alias, {}):
            _restore(connection, cursor, table)
        cursor.execute("COMMIT")


class _Closing:
    """SQLite's driver has cursors that are no context managers."""

    def __init__(self, connection):
        self._cursor = connection.connection.cursor()

    def __enter__(self):
        return self._cursor

    def __exit__(self, *_):
        self._cursor.close()


def _delete_statements(connection, tables):
    if not tables:
        return []
    if connection.vendor == "sqlite":
        quoted = map(connection.ops.quote_name, tables)
        names = ", ".join(f"'{table}'" for table in tables)
        return [
            *(f"DELETE FROM {table}" for table in quoted),
            f"UPDATE sqlite_sequence SET seq = 0 WHERE name IN ({names})",
        ]
    return connection.ops.sql_flush(no_style(), tables, reset_sequences=True, allow_cascade=True)


def _rows(connection):
    """Yield the tables that hold something before the first test, with columns and rows."""
    with connection.cursor() as cursor:
        for info in connection.introspection.get_table_list(cursor):
            if info.type == "t":
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(info.name)}")
                rows = cursor.fetchall()
                if rows:
                    yield info.name, ([column[0] for column in cursor.description], rows)


def _restore(connection, cursor, table):
    columns, rows = _initial[connection.alias][table]
    name = connection.ops.quote_name(table)
    cursor.execute(f"SELECT 1 FROM {name} LIMIT 1")
    if cursor.fetchone():
        return
    mark = "?" if connection.vendor == "sqlite" else "%s"
    into = ", ".join(map(connection.ops.quote_name, columns))
    cursor.executemany(
        f"INSERT INTO {name} ({into}) VALUES ({', '.join([mark] * len(columns))})", rows
    )
    if connection.vendor == "postgresql":
        for sequence in connection.introspection.get_sequences(cursor, table):
            column = connection.ops.quote_name(sequence["column"])
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{name}', '{sequence['column']}'), max({column})) FROM {name}"
            )
