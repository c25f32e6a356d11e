"""Which columns of the rows under an alias a query reads, if that is certain.

An update of other columns cannot change the result. A query that is not fully understood counts as
reading all columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db.models import ForeignKey, OneToOneField
from django.db.models.fields.reverse_related import ForeignObjectRel

from rover_overrides.conditions.conditions import READS, Atom, Column
from rover_overrides.rows.rows import key_columns

_PLAIN_KEYS = (ForeignKey, OneToOneField)

Aliases = Mapping[str, Any]
Query = Any


def read_columns_atoms(
    queries: Sequence[tuple[Query, Aliases, Any]], *, is_count: bool
) -> dict[str, Atom]:
    """Map aliases to the atom that lists the columns read; without aliases whose columns all are.

    A query inside another may also read columns of the outer query's aliases, so all queries are
    analysed together. With `is_count`, only the number of rows of the first query is used.
    """
    if not all(_is_understood(query, contents) for query, _, contents in queries):
        return {}
    read: dict[str, set[str]] = defaultdict(set)
    for query, aliases, contents in queries:
        for alias, column in (*contents.columns, *_join_columns(aliases), *_order_columns(query)):
            read[alias].add(column)
    whole = {
        alias
        for number, (query, aliases, _) in enumerate(queries)
        for alias in _whole_row_aliases(query, aliases, is_count=is_count and number == 0)
    }
    names = {alias for _, aliases, _ in queries for alias in aliases} - whole
    return {alias: Atom(Column((), ""), READS, tuple(sorted(read[alias]))) for alias in names}


def _is_understood(query: Query, contents: Any) -> bool:
    """Return whether every column that a query reads can be named."""
    return not (
        contents.opaque
        or contents.raw_sql
        or query.select_related
        or query.distinct_fields
        or query.extra_tables
        or any(_columns_of(query, item) is None for item in _order_items(query))
    )


def _order_items(query: Query) -> Collection[Any]:
    if query.order_by or query.extra_order_by:
        return (*query.order_by, *query.extra_order_by)
    return query.get_meta().ordering or () if query.default_ordering else ()


def _columns_of(query: Query, item: Any) -> Sequence[str] | None:
    """Return the columns of the query's own table that an item of its order reads, None if unknown.

    An expression has none here, because those are in `QueryContents.columns` already.
    """
    if not isinstance(item, str):
        return () if item in query.order_by else None
    name = item.lstrip("+-")
    model = query.get_meta().concrete_model
    if name == "pk":
        return key_columns(model)
    if name in query.annotations:
        return ()
    for field in model._meta.local_concrete_fields:
        if name == field.attname or (name == field.name and not field.is_relation):
            return (str(field.column),)
    return None


def _order_columns(query: Query) -> Iterable[tuple[str, str]]:
    base = query.base_table
    for item in _order_items(query) if base else ():
        yield from ((base, column) for column in _columns_of(query, item) or ())


def _join_columns(aliases: Aliases) -> Iterable[tuple[str, str]]:
    """Yield the columns that joins compare, with their aliases."""
    for alias, join in aliases.items():
        for parent_column, own_column in getattr(join, "join_cols", None) or ():
            yield join.parent_alias, parent_column
            yield alias, own_column


def _whole_row_aliases(query: Query, aliases: Aliases, *, is_count: bool) -> Iterable[str]:
    """Yield the aliases of which all columns are read.

    These are the aliases that objects are made from, and both sides of a join that is filtered, or
    that is not by a plain foreign key.
    """
    made = (
        {query.base_table}
        if query.default_cols and not (is_count and not query.distinct)
        else set()
    )
    for alias, join in aliases.items():
        field = getattr(join, "join_field", None)
        if field is None:
            continue
        if (
            join.parent_alias in made
            and isinstance(field, OneToOneField)
            and field.remote_field.parent_link
        ):
            made.add(alias)
        key = field.field if isinstance(field, ForeignObjectRel) else field
        if type(key) not in _PLAIN_KEYS or join.filtered_relation is not None:
            yield from (alias, join.parent_alias)
    yield from made
