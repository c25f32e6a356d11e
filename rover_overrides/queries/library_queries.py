"""Queries with classes of libraries, which may put tables into the SQL that no analysis sees.

The result depends on the tables that the compiled SQL names, each as a whole.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models.sql.datastructures import BaseTable

from rover_overrides.introspection import stock
from rover_overrides.introspection.application_sql import UncachedError
from rover_overrides.introspection.schema import model_of
from rover_overrides.introspection.table_names import UnreadableError, tables_named
from rover_overrides.keys.encoding import WATCHED


class ForeignError(Exception):
    """The query is not made of Django's own classes."""


def is_foreign(query: Any, using: str) -> bool:
    """Return whether classes that are not Django's make the SQL of a query, or the joins in it."""
    if not stock.is_query(query) or any(
        _is_foreign_table(join, query) for join in query.alias_map.values()
    ):
        return True
    return not stock.is_compiler(query.get_compiler(using))


def _is_foreign_table(join: Any, query: Any) -> bool:
    """Return whether code other than Django's joined a table or put it in place of the model's."""
    if not stock.is_join(join):
        return True
    return (
        type(join) is BaseTable
        and join.table_name != query.get_meta().db_table
        and model_of(join.table_name) is None
    )


def tables_of(query: Any, using: str) -> set[str]:
    """Return the tables that the SQL of a whole query names.

    Raises UncachedError if the SQL cannot be compiled or read.
    """
    try:
        found = _named(_apart(query), using)
    except EmptyResultSet:  # Django itself would not query the database either
        found = set()
    except UnreadableError as error:
        raise UncachedError(str(error)) from error
    except Exception as error:  # library code may raise anything
        raise UncachedError(f"{type(query).__name__} is not understood") from error
    return found or {query.get_meta().db_table}


def _named(query: Any, using: str) -> set[str]:
    compiler = query.get_compiler(using)
    if stock.overridden(type(compiler)) & _RUNS:
        raise UnreadableError(f"{type(compiler).__name__} runs statements of its own")
    found = tables_named(*compiler.as_sql())
    for node in getattr(query, WATCHED, ()):
        found |= tables_named(*compiler.compile(deepcopy(node)))
    return found


_RUNS = frozenset({"execute_sql", "has_results", "results_iter"})


def _apart(query: Any) -> Any:
    """Return a copy of a query that shares no state that compiling changes."""
    clone = query.clone()
    for name in ("where", "annotations", "combined_queries"):
        setattr(clone, name, deepcopy(getattr(clone, name)))
    return clone
