"""What the cache knows of a database connection, in one object: its open transaction, and what waits for the end of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_KEY = "rover_state"


@dataclass
class ConnectionState:
    """The state of one connection of one thread."""

    batch: Any = None
    """The changes of a transaction in manual mode (`set_autocommit(False)`), a `commits.Batch`."""
    announced: Any = None
    """What was announced before the COMMIT that is under way."""
    backend: int = 0
    """The id of the database's process that works on the COMMIT that is under way, 0 if it is not known."""
    is_in_outbox: bool = False
    """Whether the tables of the COMMIT that is under way are in the outbox, and come with it."""
    is_dirty: bool = False
    """Whether manual mode has written something that is not committed."""
    is_issuing: bool = False
    """Whether a compiler of Django's is running its statement, which then is no raw SQL."""
    is_own_transaction: bool = False
    """Whether the open transaction is one that the cache opened around a single write in autocommit mode."""
    looks: bool = True
    """Whether the old rows of a write are read, which failed in this write's first transaction if not."""
    row_locks: int = 0
    """How many savepoints of the open transaction have locked rows."""
    aborted: Exception | None = None
    """The error of the cache's own statement that aborted the open transaction, if one did."""

    outermost: str = ""
    """The savepoint that began the open transaction, as it does on SQLite outside any; its release commits."""

    is_bound: bool | None = None
    """Whether its transactions see a snapshot where nothing names an isolation level, None if that is not known yet."""
    names_isolation: bool = False
    """Whether raw SQL has named an isolation level on the open connection."""
    has_drained: bool = False
    """Whether rows of the outbox were found in the open transaction, to be deleted after it."""

    def end_transaction(self) -> None:
        """Forget what holds for the transaction that has ended."""
        self.is_dirty = False
        self.row_locks = 0
        self.aborted = None
        self.outermost = ""


def state_of(connection: Any) -> ConnectionState:
    """Return the state of a connection."""
    found = connection.__dict__.get(_KEY)
    if found is None:
        found = connection.__dict__[_KEY] = ConnectionState()
    return found  # type: ignore[no-any-return]
