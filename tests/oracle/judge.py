"""The judge: is a cached answer the database's, and was a result dropped for nothing?

Stale: a read that was a hit and differs from what the database answers to the same query at that moment.

Needless: a write dropped a warm result (the read before it hit or filled it, the one after it missed), the answer did not
change, and no row that the write touched was or is part of the query. A row is *touched* where its content changed or a
statement wrote it and committed. A row is *part of* a query where it stands in a row of the query's joins that satisfies its WHERE:
asked of the database by the query itself with its select list replaced by the keys of all its joined tables, without
order, limits, DISTINCT and grouping, before and after the write. A drop is *undecided*, and counts nowhere, where that
question cannot be asked of a touched table: it stands in a subquery, the filter is on an aggregate, or the read takes several
queries. Upstream's tree and the fork's are measured by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from django.apps import apps
from django.core.exceptions import EmptyResultSet, FieldError
from django.db import DatabaseError, connection
from django.db.models.query import QuerySet
from django.db.models.sql import Query
from oracle import reads

Row = tuple[str, Any]
_PLACE = re.compile(r'(?:FROM|JOIN|,) \(?"(\w+)"(?!\.)')


@dataclass
class CachedQuery:
    """A query whose result may be cached: its source, its last answer, and what the database was asked for it."""

    text: str
    code: CodeType
    answer: str = ""
    statements: list[tuple[str, Any]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    matching_rows: set[Row] = field(default_factory=set)
    row_queries: list[tuple[str, Any, tuple[str, ...]]] | None = None
    undecidable_tables: set[str] = field(default_factory=set)
    warm: bool = False

    def refresh(self, names: dict[str, Any]) -> bool:
        """Ask the database again where the rows behind the answer changed, and tell whether the answer did.

        What the database begins to refuse, such as more than one row of an inner query that stands for a value, is an answer too.
        """
        before = self.answer
        try:
            return self.requery(names)
        except DatabaseError as error:
            self.answer, self.rows = refused(error), []
            return self.answer != before

    def requery(self, names: dict[str, Any]) -> bool:
        """Do what `refresh` does; raises DatabaseError."""
        rows = [_fetched(sql, params) for sql, params in self.statements]
        if self.statements and rows == self.rows:
            return False
        before, self.answer = self.answer, self._database_answer(names)
        self.rows = [_fetched(sql, params) for sql, params in self.statements]
        return self.answer != before

    def _database_answer(self, names: dict[str, Any]) -> str:
        with reads.cache_off(), reads.recorded_statements() as self.statements:
            return str(eval(self.code, names))

    def read(self, names: dict[str, Any]) -> tuple[str, bool | None]:
        """Read through the cache; the second value tells a hit from a miss, None where the cache was not asked."""
        with reads.recorded_hits() as found:
            answer = str(eval(self.code, names))
        return answer, all(found) if found else None

    def find_matching_rows(self) -> set[Row]:
        """Return the rows that are part of the query now."""
        found: set[Row] = set()
        for sql, params, tables in self.row_queries or ():
            try:
                rows = _fetched(sql, params)
            except DatabaseError:  # the database refuses the query now
                return set()
            for keys in rows:
                if len(keys) != len(
                    tables
                ):  # Django selects something else: nothing can be said of these rows
                    self.row_queries = None
                    return set()
                found.update(row for row in zip(tables, keys, strict=True) if row[1] is not None)
        return found

    def can_decide(self, touched: Iterable[Row]) -> bool:
        """Return whether it can be said of these rows that they are or are no part of the query."""
        return self.row_queries is not None and not any(
            table in self.undecidable_tables for table, _ in touched
        )


def cached_query(
    text: str, code: CodeType, names: dict[str, Any], querysets: dict[str, Any]
) -> CachedQuery:
    """Return a query with its first answer; raises what Django raises for a query that it refuses."""
    query = CachedQuery(text, code)
    query.requery(names)
    try:
        _prepare(query, eval(code, querysets))
    except (FieldError, DatabaseError, NotImplementedError, AttributeError, TypeError, ValueError):
        query.row_queries = None
    return query


def refused(error: DatabaseError) -> str:
    """Return the answer of a database that refuses to give one."""
    return f"refused: {type(error).__name__}"


def querysets(names: dict[str, Any]) -> dict[str, Any]:
    """Return names under which the source of a read gives its queryset."""

    def one(queryset: Any, **more: Any) -> Any:
        return queryset.filter(**more)

    def bulk(queryset: Any, pks: list[int]) -> Any:
        return queryset.filter(pk__in=pks)

    def same(queryset: Any, *_: Any) -> Any:
        return queryset

    kept: dict[str, Callable[..., Any]] = dict.fromkeys(reads.READ_STEPS, same)
    return names | kept | {"one": one, "bulk": bulk}


def _prepare(query: CachedQuery, queryset: Any) -> None:
    """Build the questions for the rows that are part of a query, and try them once."""
    if not isinstance(queryset, QuerySet):
        queryset = queryset.all()
    if len(query.statements) > 1:
        return
    row_queries = [found for part in _queries(queryset.query) if (found := _row_query(part))]
    query.row_queries = row_queries
    query.undecidable_tables = _inner(query.statements, row_queries)
    query.matching_rows = query.find_matching_rows()


def _queries(query: Query) -> list[Query]:
    if query.combinator:
        return [item for part in query.combined_queries for item in _queries(part)]
    return [query]


def _row_query(query: Query) -> tuple[str, Any, tuple[str, ...]] | None:
    """Return SQL for the keys of all joined tables' rows that satisfy a query's WHERE; None where none ever can."""
    query = query.clone()
    try:
        query.get_compiler("default").pre_sql_setup()  # joins what order_by and select_related need
        aliases = [alias for alias in query.alias_map if query.alias_refcount[alias]]
        models = {
            model._meta.db_table: model for model in apps.get_models(include_auto_created=True)
        }
        tables = tuple(query.alias_map[alias].table_name for alias in aliases)
        query.clear_ordering(force=True)
        query.clear_limits()
        query.distinct, query.select_related, query.group_by, query.default_cols = (
            False,
            False,
            None,
            False,
        )
        query.clear_deferred_loading()
        query.set_annotation_mask(())
        query.select = tuple(
            models[table]._meta.pk.get_col(alias)
            for table, alias in zip(tables, aliases, strict=True)
        )
        sql, params = query.get_compiler("default").as_sql()
    except EmptyResultSet:
        return None
    return sql, params, tables


def _inner(
    statements: list[tuple[str, Any]], row_queries: list[tuple[str, Any, tuple[str, ...]]]
) -> set[str]:
    """Return the tables that occur in the question more often than at its top level."""
    found = [name for sql, _ in statements for name in _PLACE.findall(sql)]
    own = [table for _, _, tables in row_queries for table in tables]
    return {name for name in found if found.count(name) > own.count(name)}


def _fetched(sql: str, params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
