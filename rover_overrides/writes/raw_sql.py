"""Writes by raw SQL: a statement that no Django compiler issued changes the tables that it names.

Outside a transaction it commits by itself, so its invalidation is prepared before it runs. One that
raised counts as well, because it may have committed before the connection broke.

The statement is searched for words, so it matches too many tables rather than too few: a name in a
comment or a literal counts. What a statement writes without naming it, through a procedure or a
trigger, must be declared by the application. `CACHEOPS_ROVER_RAW_SQL = False` turns this off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any

from cacheops.conf import settings as cacheops_settings
from django.apps import apps
from django.conf import settings
from django.db.backends.utils import CursorWrapper

from rover_overrides.core.switches import is_enabled
from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.invalidation import commits, transaction_ends
from rover_overrides.invalidation.two_phase import Change
from rover_overrides.writes.recording import is_tracking_enabled

_WORD = re.compile(r"\w+")
_START = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w*)", re.DOTALL)
_READING_KEYWORDS = frozenset(
    """
    analyze begin checkpoint close commit deallocate declare desc describe discard end fetch listen
    notify pragma release reset rollback savepoint select set show start table unlisten use vacuum
    values
""".split()  # noqa: SIM905 - more readable than forty quotes
)
_COMMIT_KEYWORDS = frozenset({"commit", "end"})
_ENDING_KEYWORDS = _COMMIT_KEYWORDS | {"release"}
_WRITING_KEYWORDS = frozenset(
    """
    alter call copy delete do drop exec execute insert load merge refresh rename replace truncate
    update
""".split()  # noqa: SIM905 - as above
)


def install() -> None:
    """Inspect every statement that goes through a cursor of Django."""
    wrapper: Any = CursorWrapper
    if hasattr(wrapper.execute, _IS_TRACKED):
        return
    wrapper.execute = _tracked(wrapper.execute)
    wrapper.executemany = _tracked(wrapper.executemany)
    wrapper.__getattr__ = _tracked_getattr(wrapper.__getattr__)


def written_tables(sql: str, tables: list[str]) -> list[str]:
    """Return those of the tables that a statement may write."""
    if not _writes(sql):
        return []
    folded = sql.casefold()
    words = set(_WORD.findall(folded))
    return [table for table in tables if _words_of(table.casefold()) <= words]


def _writes(sql: str) -> bool:
    if sql[:6].casefold() == "select" and ";" not in sql:  # the most common case
        return False
    first = _first_word(sql)
    several = ";" in sql.strip().rstrip(";")
    if first in _READING_KEYWORDS and not several:
        return False
    # WITH, EXPLAIN ANALYZE and the like may contain a statement that writes.
    return first in _WRITING_KEYWORDS or not _WRITING_KEYWORDS.isdisjoint(
        word.casefold() for word in _WORD.findall(sql)
    )


def _first_word(sql: str) -> str:
    start = _START.match(sql)
    return start.group(1).casefold() if start else ""


def _last_word(sql: str) -> str:
    return str(_WORD.findall(sql)[-1]).casefold()


def _words_of(table: str) -> set[str]:
    """Return the words of a table's name, which may be quoted and include a schema."""
    return set(_WORD.findall(table))


_IS_TRACKED = "_rover_tracked"


def _tracked(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def method(self: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        state = state_of(self.db)
        if state.running_compiler is not None:  # a statement of Django's compilers is no raw SQL
            return _run_compiled(self.db, original, self, sql, *args, **kwargs)
        # A transaction of SQLite that Django begins; nothing waits for the end of another one.
        if sql == "BEGIN" and state.batch is None:
            return original(self, sql, *args, **kwargs)
        with _track_statement(self.db, sql):
            return original(self, sql, *args, **kwargs)

    setattr(method, _IS_TRACKED, True)
    return method


def _tracked_getattr(original: Callable[..., Any]) -> Callable[..., Any]:
    """Inspect statements of cursor methods other than `execute()`, such as `copy()` of psycopg."""

    @wraps(original)
    def __getattr__(self: Any, name: str) -> Any:  # noqa: N807 - the name it replaces
        attribute = original(self, name)
        if name == "copy":
            return lambda sql, *args, **kwargs: _track_copy(
                self.db, sql, attribute(sql, *args, **kwargs)
            )
        if name == "executescript":  # of sqlite3
            return lambda sql: _track_script(self.db, attribute, sql)
        if name in {"copy_expert", "copy_from"}:
            return _tracked_copy_method(
                self.db, attribute, sql="" if name == "copy_expert" else "copy "
            )
        return attribute

    return __getattr__


@contextmanager
def _track_copy(connection: Any, sql: Any, copy: Any) -> Iterator[Any]:
    with _track_statement(connection, sql), copy as copied:
        yield copied


def _track_script(connection: Any, run: Callable[[Any], Any], sql: Any) -> Any:
    # sqlite3 commits before it runs a script.
    with _track_statement(connection, f"COMMIT; {sql}" if isinstance(sql, str) else sql):
        return run(sql)


def _tracked_copy_method(connection: Any, copy: Callable[..., Any], sql: str) -> Callable[..., Any]:
    # psycopg2 has copy_expert(sql, file) and copy_from(file, table).
    def method(first: Any, second: Any, *args: Any, **kwargs: Any) -> Any:
        with _track_statement(connection, f"{sql}{second}" if sql else first):
            return copy(first, second, *args, **kwargs)

    return method


def _track_statement(connection: Any, sql: Any) -> AbstractContextManager[None]:
    """Return a context around a statement, which invalidates what the statement may write.

    Outside a transaction the invalidation is prepared before the statement and finished after it;
    inside one the changes are recorded.
    """
    if not cacheops_settings.CACHEOPS_INSIDEOUT:
        return _UNTRACKED
    if state_of(connection).running_compiler is not None:  # as above, by another method
        return _track_compiled_statement(connection)
    text = _text(connection, sql)
    if text is None or "isolation" in text.lower():  # it may set an isolation level
        state_of(connection).has_explicit_isolation_level = True
    _remember_outermost_savepoint(connection, text)
    if commits.waits_for_raw_commit(connection) or (
        _may_end(connection, text) and commits.has_waiting_changes(connection)
    ):
        return _track_transaction_end(connection, text)
    if text is not None and not _writes(text):
        return _UNTRACKED
    return _track_changes(connection, _possible_changes(text))


_UNTRACKED = nullcontext()


@contextmanager
def _track_transaction_end(connection: Any, text: str | None) -> Iterator[None]:
    """Inspect a statement that may end the open transaction."""
    is_commit = _is_commit(connection, text)
    changes = _possible_changes(text) if text is None or _writes(text) else []
    if is_commit is not False:  # what it writes is prepared together with what it commits
        for change in changes:
            commits.record(connection.alias, change)
    with (
        transaction_ends.around_raw_end(connection, is_commit=is_commit),
        _track_changes(connection, changes) if changes else _UNTRACKED,
    ):
        yield


def _may_end(connection: Any, text: str | None) -> bool:
    """Return whether a statement may end the open transaction.

    A transaction of SQLite also ends with the release of the savepoint that began it.
    """
    if text is None:
        return True
    first = _first_word(text)
    return (
        first in _COMMIT_KEYWORDS
        or (first == "release" and connection.vendor == "sqlite")
        or _has_ending_statement(text)
    )


def _is_commit(connection: Any, text: str | None) -> bool | None:
    """Return whether a statement commits the open transaction, or None if that is unclear."""
    if text is None:
        return None
    first = _first_word(text)
    if first in _COMMIT_KEYWORDS:
        return True
    outermost = state_of(connection).outermost_savepoint
    releases = first == "release" and outermost != "" and _last_word(text) == outermost
    return None if releases or _has_ending_statement(text) else False


def _has_ending_statement(text: str) -> bool:
    """Return whether a text of several statements has one that may end a transaction."""
    return ";" in text.strip().rstrip(";") and not _ENDING_KEYWORDS.isdisjoint(
        word.casefold() for word in _WORD.findall(text)
    )


def _remember_outermost_savepoint(connection: Any, text: str | None) -> None:
    """Remember the savepoint that begins a transaction.

    On SQLite, a savepoint outside any transaction does.
    """
    if (
        text is not None
        and connection.vendor == "sqlite"
        and _first_word(text) == "savepoint"
        and statements.has_no_transaction(connection)
    ):
        state_of(connection).outermost_savepoint = _last_word(text)


def _run_compiled(connection: Any, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return run(*args, **kwargs)
    finally:
        if cacheops_settings.CACHEOPS_INSIDEOUT:
            commits.mark_written(connection)


@contextmanager
def _track_compiled_statement(connection: Any) -> Iterator[None]:
    try:
        yield
    finally:
        commits.mark_written(connection)


@contextmanager
def _track_changes(connection: Any, changes: list[Change]) -> Iterator[None]:
    if changes and not statements.in_transaction(connection):
        with commits.autocommit_statement(connection, changes):
            yield
        return
    try:
        yield
    finally:
        commits.mark_written(connection)
        for change in changes:
            commits.record(connection.alias, change)


def _possible_changes(text: str | None) -> list[Change]:
    """Return what a raw statement may write; every table if its text is unknown."""
    if not (
        is_tracking_enabled()
        and is_enabled("track-all-writes")
        and getattr(settings, "CACHEOPS_ROVER_RAW_SQL", True)
    ):
        return []
    tables = _tables()
    return [
        Change(table, None, None)
        for table in (tables if text is None else written_tables(text, tables))
    ]


def _text(connection: Any, sql: Any) -> str | None:
    if isinstance(sql, str):
        return str(sql)
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    try:
        return str(sql.as_string(connection.connection))
    except Exception:  # noqa: BLE001 - whatever a driver's object raises
        return None


def _tables() -> list[str]:
    return sorted({model._meta.db_table for model in apps.get_models(include_auto_created=True)})
