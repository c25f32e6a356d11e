"""What the cache knows of a database connection, in one object.

This is its open transaction, and what waits for the end of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

KEY = "rover_state"
"""Its attribute of a connection."""


@dataclass
class ConnectionState:
    """The state of one connection of one thread."""

    batch: Any = None
    """The changes of a transaction in manual mode (`set_autocommit(False)`), a `commits.Batch`."""
    prepared: Any = None
    """What was prepared before the COMMIT in progress, a `two_phase.Prepared`."""
    backend_pid: int = 0
    """The id of the database process that executes the COMMIT in progress, 0 if unknown."""
    is_in_outbox: bool = False
    """Whether the COMMIT in progress includes outbox rows for its tables."""
    has_uncommitted_writes: bool = False
    """Whether manual mode has uncommitted writes."""
    running_compiler: Any = None
    """The Django compiler that is running its statement, which is not raw SQL then."""
    is_own_transaction: bool = False
    """Whether the cache opened the transaction, around a single write in autocommit mode.

    It is reset just before that write is sent.
    """
    reads_old_rows: bool = True
    """Whether the old rows of a write are read; False if that failed in its first transaction."""
    locked_tables: set[str] = field(default_factory=set)
    """The tables whose database file in SQLite the open transaction has locked for writing."""
    row_locks: int = 0
    """How many savepoints of the open transaction have locked rows."""
    abort_error: Exception | None = None
    """The error of the cache's own statement that aborted the open transaction, if one did."""

    outermost_savepoint: str = ""
    """The savepoint that began the open transaction; its release commits.

    On SQLite a savepoint outside a transaction begins one.
    """

    defaults_to_snapshot: bool | None = None
    """Whether transactions without an explicit isolation level see a snapshot.

    None if that is not known yet.
    """
    has_explicit_isolation_level: bool = False
    """Whether raw SQL has named an isolation level on this connection."""
    has_drained_outbox: bool = False
    """Whether the open transaction read outbox rows that must be deleted after it."""

    selects: dict[Any, Any] = field(default_factory=dict)
    """The cache's own SELECTs that were compiled for the connection (see `selects`)."""

    def end_transaction(self) -> None:
        """Reset what applies to the transaction that has ended."""
        self.has_uncommitted_writes = False
        self.locked_tables.clear()
        self.row_locks = 0
        self.abort_error = None
        self.outermost_savepoint = ""


def state_of(connection: Any) -> ConnectionState:
    """Return the state of a connection."""
    state = connection.__dict__.get(KEY)
    if state is None:
        state = connection.__dict__[KEY] = ConnectionState()
    return state  # type: ignore[no-any-return]
