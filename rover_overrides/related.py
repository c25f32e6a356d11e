"""The values of the rows that a written row leads to by foreign keys, looked up for the entries that compare them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Union

from django.core.exceptions import ValidationError
from django.db import DatabaseError

from rover_overrides.conditions import Column, Path
from rover_overrides.schema import field_of, model_of

MAX_KEYS = 1000
"""Of how many related rows the values are looked up for each path; beyond that they are unknown."""

Row = Mapping[Union[str, Column], Any]


def with_related(using: str, columns: Iterable[Column], rows: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Give the rows with the columns of related rows that are asked for: a query a path, however many rows."""
    by_path: dict[Path, set[str]] = defaultdict(set)
    for column in columns:
        by_path[column.path].add(column.name)
    extended: list[dict[str | Column, Any]] = [dict(row.items()) for row in rows]
    for path, names in by_path.items():
        start = path[0][0]
        keys = [_key(path[0], row.get(start)) for row in rows]
        found = _looked_up(using, path, sorted(names), {key for key in keys if key is not None})
        for row, key in zip(extended, keys) if found is not None else ():
            if start in row and (key is not None or row[start] is None):
                values = found.get(key, {}) if found is not None else {}
                row.update((Column(path, name), values.get(name)) for name in names)
    yield from extended


def _key(hop: tuple[str, str, str], value: Any) -> Any:
    """Return a key as the database gives it, or None where there is none or it is not one."""
    field = field_of(hop[1], hop[2])
    try:
        return value if field is None or value is None else field.to_python(value)
    except ValidationError:
        return None


def _looked_up(using: str, path: Path, names: Sequence[str], keys: set[Any]) -> dict[Any, dict[str, Any]] | None:
    """Return the wanted columns at the end of a path by the first hop's key, or None where that cannot be told."""
    model, words = model_of(path[0][1]), _words(path, names)
    if not keys:
        return {}
    if model is None or words is None or len(keys) > MAX_KEYS:
        return None
    key = words[0]
    queryset = model._base_manager.using(using).filter(**{f"{key}__in": keys}).order_by()
    queryset = queryset.nocache() if hasattr(queryset, "nocache") else queryset
    try:
        return {first: dict(zip(names, rest)) for first, *rest in queryset.values_list(*words)}
    except DatabaseError:
        return None


def _words(path: Path, names: Sequence[str]) -> list[str] | None:
    """Return the ORM's words for the first hop's key and for the columns, seen from the first hop's table."""
    fields = [field_of(path[0][1], path[0][2])]
    fields += [field_of(before[1], hop[0]) for before, hop in zip(path, path[1:])]
    ends = [field_of(path[-1][1], name) for name in names]
    if None in fields or None in ends:
        return None
    hops = "".join(f"{field.name}__" for field in fields[1:] if field is not None)
    return [getattr(fields[0], "attname", ""), *(f"{hops}{field.attname}" for field in ends if field is not None)]
