"""The values of the related rows of a written row, read for the templates that compare them.

They are the committed values. A writer whose transaction has a snapshot does not see those, so for
it the values are unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Union

from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models.lookups import In
from django.db.models.sql import Query
from django.db.models.sql.where import AND

from rover_overrides.conditions.conditions import Column, Hop, Path
from rover_overrides.database.snapshots import sees_snapshot_only
from rover_overrides.database.statements import StatementError
from rover_overrides.introspection.django_classes import resolve_target
from rover_overrides.introspection.schema import field_of, model_of
from rover_overrides.rows.rows import raw_column
from rover_overrides.rows.selects import fetch_prepared
from rover_overrides.rows.table_fields import is_stock

MAX_KEYS = 1000
"""How many related rows are read for each path; if there are more, their values are unknown."""

Row = Mapping[Union[str, Column], Any]


def with_related(
    using: str,
    reverse_hop: Path,
    columns: Iterable[Column],
    rows: Sequence[Row],
    others: Sequence[Row],
) -> Iterator[Row]:
    """Yield the rows with the requested columns of related rows, read by one query per path.

    If `reverse_hop` is a reverse hop, each row is yielded once for each row behind it: as those are
    stored, and as they are among `others`, the rows changed along with `rows`. What cannot be
    determined stays unknown.
    """
    by_path: dict[Path, set[str]] = defaultdict(set)
    for column in columns:
        by_path[column.path].add(column.name)
    extended: list[dict[str | Column, Any]] = [dict(row.items()) for row in rows]
    if sees_snapshot_only(using):
        by_path.clear()  # all related values stay unknown
    for path, names in by_path.items():
        if path[:1] != reverse_hop:
            _add_columns(using, path, sorted(names), extended)
    wanted = {
        path: sorted(names)
        for path, names in by_path.items()
        if reverse_hop and path[:1] == reverse_hop
    }
    yield from _with_reverse_rows(using, wanted, extended, others) if wanted else extended


def _add_columns(
    using: str, path: Path, names: Sequence[str], rows: Sequence[dict[str | Column, Any]]
) -> None:
    """Add to the rows the columns at the end of a path that leads to one row each."""
    start = path[0].column
    keys = [_key(path[0], row.get(start)) for row in rows]
    found = _columns_by_key(using, path, names, {key for key in keys if key is not None})
    for row, key in zip(rows, keys) if found is not None else ():
        if start in row and (key is not None or row[start] is None):
            values = found.get(key, [{}])[0] if found is not None else {}
            row.update((Column(path, name), values.get(name)) for name in names)


def _with_reverse_rows(
    using: str,
    wanted: Mapping[Path, Sequence[str]],
    rows: Sequence[dict[str | Column, Any]],
    others: Sequence[Row],
) -> Iterator[dict[str | Column, Any]]:
    """Yield each row once for each of the many rows that lead to it, with the columns wanted."""
    hop = next(iter(wanted))[0]
    keys = [_key(hop, row.get(hop.column)) for row in rows]
    stored = _stored_reverse_rows(using, wanted, {key for key in keys if key is not None})
    changed = _changed_reverse_rows(using, wanted, others)
    for row, key in zip(rows, keys):
        if (
            stored is None
            or changed is None
            or hop.column not in row
            or (key is None and row[hop.column] is not None)
        ):
            yield row  # its related rows are unknown
        else:
            yield from ({**row, **other} for other in (*stored.get(key, ()), *changed.get(key, ())))


def _key(hop: Hop, value: Any) -> Any:
    """Return a key as the database returns it, or None if it is NULL or no valid key."""
    field = field_of(hop.table, hop.target)
    if field is None or value is None or not is_stock(field):
        return value  # it was read without a converter
    try:
        return resolve_target(field).to_python(value)
    except ValidationError:
        return None


def _columns_by_key(
    using: str, path: Path, names: Sequence[str], keys: set[Any]
) -> dict[Any, list[dict[str, Any]]] | None:
    """Return the columns at the end of a path by the first hop's key, or None if unknown."""
    lookup_names = _lookup_names(path, names)
    found = None if lookup_names is None else _fetch_by_key(using, path[0], lookup_names, keys)
    return (
        None
        if found is None
        else {key: [dict(zip(names, row)) for row in rows] for key, rows in found.items()}
    )


def _stored_reverse_rows(
    using: str, wanted: Mapping[Path, Sequence[str]], keys: set[Any]
) -> dict[Any, list[dict[str | Column, Any]]] | None:
    """Return the wanted columns of many rows by the key that leads to them, with one query.

    Return None if they are unknown.
    """
    columns = [Column(path, name) for path, names in wanted.items() for name in names]
    lookup_names = [
        some for path, names in wanted.items() if (some := _lookup_names(path, names)) is not None
    ]
    if len(lookup_names) < len(wanted):
        return None
    flat = [lookup_names[0][0], *(word for some in lookup_names for word in some[1:])]
    found = _fetch_by_key(using, next(iter(wanted))[0], flat, keys)
    return (
        None
        if found is None
        else {key: [dict(zip(columns, row)) for row in rows] for key, rows in found.items()}
    )


def _changed_reverse_rows(
    using: str, wanted: Mapping[Path, Sequence[str]], others: Sequence[Row]
) -> dict[Any, list[dict[str | Column, Any]]] | None:
    """Return what `_stored_reverse_rows` does for the rows that were changed along."""
    hop = next(iter(wanted))[0]
    keys = [_key(hop, row.get(hop.target)) for row in others]
    # Unknown if a row lacks its key, or has a value that is no valid key.
    if len(others) > MAX_KEYS or any(
        hop.target not in row or (row[hop.target] is not None) > (key is not None)
        for row, key in zip(others, keys)
    ):
        return None
    extended: list[dict[str | Column, Any]] = [dict(row.items()) for row in others]
    for path, names in wanted.items():
        if path[1:]:
            _add_columns(using, path[1:], names, extended)
    found: dict[Any, list[dict[str | Column, Any]]] = defaultdict(list)
    columns = [
        (Column(path, name), Column(path[1:], name) if path[1:] else name)
        for path, names in wanted.items()
        for name in names
    ]
    for row, key in zip(extended, keys):
        if key is not None:
            found[key].append({column: row[source] for column, source in columns if source in row})
    return found


def _fetch_by_key(
    using: str, hop: Hop, lookup_names: Sequence[str], keys: set[Any]
) -> dict[Any, list[list[Any]]] | None:
    """Return rows of the ORM lookup names `lookup_names`, by the first of them.

    Return None if there are too many keys or rows, or if the query fails.
    """
    model, field = model_of(hop.table), field_of(hop.table, hop.target)
    if not keys:
        return {}
    if model is None or field is None or len(keys) > MAX_KEYS:
        return None
    try:
        found = fetch_prepared(
            (model, field.column, *lookup_names),
            In(raw_column(field, model._meta.db_table), list(keys)),
            lambda: _query(model, field, lookup_names, keys),
            connections[using],
        )
    except StatementError:
        return None
    if len(found) > MAX_KEYS:
        return None
    by_key: dict[Any, list[list[Any]]] = defaultdict(list)
    for key, *row in found:
        by_key[key].append(row)
    return by_key


def _query(model: Any, field: Any, lookup_names: Sequence[str], keys: set[Any]) -> Query:
    """Return the query of raw columns; it uses no manager, as a join does not use one either."""
    query = Query(model)
    query.add_fields(list(lookup_names))
    columns: Sequence[Any] = query.select
    query.set_select([raw_column(column.target, column.alias) for column in columns])
    query.where.add(In(raw_column(field, query.get_initial_alias()), list(keys)), AND)
    query.clear_ordering(True)
    query.set_limits(high=MAX_KEYS + 1)  # one more, to notice too many rows
    return query


def _lookup_names(path: Path, names: Sequence[str]) -> list[str] | None:
    """Return the ORM lookup names of the first hop's key and of the columns, from that hop's table.

    Return None if a field is unknown.
    """
    fields = [field_of(path[0].table, path[0].target)]
    fields += [field_of(before.table, hop.column) for before, hop in zip(path, path[1:])]
    ends = [field_of(path[-1].table, name) for name in names]
    if None in fields or None in ends:
        return None
    hops = "".join(f"{field.name}__" for field in fields[1:] if field is not None)
    return [
        getattr(fields[0], "attname", ""),
        *(f"{hops}{field.attname}" for field in ends if field is not None),
    ]
