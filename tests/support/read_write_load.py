"""What a process of an application does under load: it reads rows that others save, and no read may be older than a save before it.

The processes share a *board*, a file in memory: for each row the last number whose `save()` returned, what they are to do, and how
many operations each of them has done.
"""

import mmap
from itertools import cycle
from pathlib import Path
from random import Random

ROWS = 24
READS_PER_WRITE = 16
MAX_OPERATIONS = 50_000
"""Operations of a process that is told to go on, if nobody stops it."""


_STOP, _ONLY_READ, _DONE = ROWS, ROWS + 1, ROWS + 2


class LoadBoard:
    """Numbers of eight bytes, which processors store whole."""

    def __init__(self, path, processes):
        if not Path(path).exists():
            Path(path).write_bytes(bytes(8 * (_DONE + processes)))
        with Path(path).open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

    def least_value(self, row):
        """Return what the row is at least for whoever begins to read it now."""
        return self._words[row]

    def least_values(self):
        """Return that of all rows."""
        return list(self._words[:ROWS])

    def save_returned(self, row, number):
        """Say what a row is from now on."""
        self._words[row] = number

    def count_operation(self, number):
        """Count an operation of a process."""
        self._words[_DONE + number] += 1

    def operation_counts(self):
        """Return how many operations each process has done."""
        return list(self._words[_DONE:])

    @property
    def is_stopped(self):
        """Return whether the processes that go on are to stop."""
        return bool(self._words[_STOP])

    def stop(self, word=True):
        """Stop the processes that go on, or let them."""
        self._words[_STOP] = word

    @property
    def is_read_only(self):
        """Return whether nobody is to write."""
        return bool(self._words[_ONLY_READ])

    def set_read_only(self, word):
        """Have nobody write, or let them."""
        self._words[_ONLY_READ] = word


class Load:
    """The load of one process: it alone writes every so manieth row, and reads all of them in several ways."""

    def __init__(self, path, number, processes):
        self._board, self._number = LoadBoard(path, processes), number
        self._mine = cycle(range(number, ROWS, processes))
        self._random = Random(number)
        _no_disk()

    def run_operations(self, operations):
        """Do so many operations and return what came of them."""
        return self._while(lambda done: done < operations)

    def run_until_stopped(self):
        """Do the same until the board says stop."""
        return self._while(lambda done: done < MAX_OPERATIONS and not self._board.is_stopped)

    def _while(self, wanted):
        from django.db import connection

        result = {"reads": 0, "hits": 0, "writes": 0, "stale": []}
        queries = []
        connection.force_debug_cursor = False  # it keeps every statement
        with connection.execute_wrapper(
            lambda run, *words: (queries.append(words[0]), run(*words))[1]
        ):
            while wanted(result["reads"] + result["writes"]):
                if self._random.random() * READS_PER_WRITE < 1 and not self._board.is_read_only:
                    self._write(next(self._mine))
                    result["writes"] += 1
                else:
                    queries.clear()
                    result["stale"] += self._read(self._random.randrange(ROWS))
                    result["reads"] += 1
                    result["hits"] += not queries
                self._board.count_operation(self._number)
        return result

    def _write(self, row):
        from write_models.models import Book

        book = Book.objects.nocache().get(pk=row + 1)
        book.pages += 1
        book.save()
        self._board.save_returned(row, book.pages)

    def _read(self, row):
        name, read = self._random.choice(list(READS.items()))
        least = self._board.least_value(row)
        found = read(row)
        return (
            []
            if found >= least
            else [f"{name}: row {row} was {found} after {least} had been saved"]
        )


def _only(**conditions):
    from write_models.models import Book

    (book,) = Book.objects.filter(**conditions)
    return book.pages


def _by_key(row):
    from write_models.models import Book

    return Book.objects.get(pk=row + 1).pages


READS = {
    "by key": _by_key,
    "by title": lambda row: _only(title=f"Book {row}"),
    "by shelf": lambda row: _only(shelf__name=f"Shelf {row}"),
    "by range": lambda row: _only(pk__gt=row, pk__lt=row + 2, pages__gte=0),
}


def _no_disk():
    """Have the database not wait for the disk, which is not what is tested."""
    from django.db import connection

    connection.cursor().execute("PRAGMA synchronous = OFF")


def prepare():
    """Make the rows, in a database that writers need not wait long for."""
    from django.db import connection
    from write_models.models import Book, Shelf

    connection.cursor().execute("PRAGMA journal_mode = WAL")
    for row in range(ROWS):
        shelf = Shelf.objects.create(name=f"Shelf {row}")
        Book.objects.create(pk=row + 1, title=f"Book {row}", shelf=shelf)
