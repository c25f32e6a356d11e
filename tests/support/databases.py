"""Databases for the tests of the overrides, which start without any."""

from contextlib import contextmanager

from django.db import ConnectionHandler, connections


@contextmanager
def connected(**databases):
    """Have this thread use databases under these aliases, given as Django's settings."""
    handler = ConnectionHandler({"default": {}, **databases})
    for alias in databases:
        connections[alias] = handler[alias]
    try:
        yield
    finally:
        for alias in databases:
            connections[alias].close()
            del connections[alias]


def sqlite(name=":memory:", **options):
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(name), **options}
