"""Queries with classes of libraries, which may put tables into the SQL that no analysis sees.

The result depends on the tables that the compiled SQL names, each as a whole.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models.sql.datastructures import BaseTable

from rover_overrides.introspection import django_classes
from rover_overrides.introspection.application_sql import UncacheableError
from rover_overrides.introspection.schema import model_of
from rover_overrides.introspection.table_names import SqlAnalysisError, tables_in_sql
from rover_overrides.keys.query_state import state_of


class LibraryQueryError(Exception):
    """The query is not made of Django's own classes."""


def is_library_query(query: Any, using: str) -> bool:
    """Return whether classes that are not Django's make the SQL of a query, or the joins in it."""
    if not django_classes.is_django_query(query) or any(
        _is_library_join(join, query) for join in query.alias_map.values()
    ):
        return True
    return not django_classes.is_django_compiler(query.get_compiler(using))


def _is_library_join(join: Any, query: Any) -> bool:
    """Return whether code other than Django's joined a table or put it in place of the model's."""
    if not django_classes.is_django_join(join):
        return True
    return (
        type(join) is BaseTable
        and join.table_name != query.get_meta().db_table
        and model_of(join.table_name) is None
    )


def tables_of(query: Any, using: str) -> set[str]:
    """Return the tables that the SQL of a whole query names.

    Raises UncacheableError if the SQL cannot be compiled or read.
    """
    try:
        found = _tables_in_sql(_detached_copy(query), using)
    except EmptyResultSet:  # Django itself would not query the database either
        found = set()
    except SqlAnalysisError as error:
        raise UncacheableError(str(error)) from error
    except Exception as error:  # library code may raise anything
        raise UncacheableError(f"{type(query).__name__} is not understood") from error
    return found or {query.get_meta().db_table}


def _tables_in_sql(query: Any, using: str) -> set[str]:
    compiler = query.get_compiler(using)
    if django_classes.non_django_attributes(type(compiler)) & _EXECUTING_METHODS:
        raise SqlAnalysisError(f"{type(compiler).__name__} runs statements of its own")
    found = tables_in_sql(*compiler.as_sql())
    for node in state_of(query).aggregates or ():
        found |= tables_in_sql(*compiler.compile(deepcopy(node)))
    return found


_EXECUTING_METHODS = frozenset({"execute_sql", "has_results", "results_iter"})


def _detached_copy(query: Any) -> Any:
    """Return a copy of a query that shares no state that compiling changes."""
    clone = query.clone()
    for name in ("where", "annotations", "combined_queries"):
        setattr(clone, name, deepcopy(getattr(clone, name)))
    return clone
