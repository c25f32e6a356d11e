"""Rows as they are stored: the values of all rows, and one description of what is made of them.

A description names the model (or none, for `values()`), the attributes in the order of the values,
the annotations, and the same for each related object of `select_related()`. Objects are made from
it without running a line of the application's code, as unpickling makes them. So rows are stored
like this only if nothing of the application's takes part in making them, and if all that they hold
is named by the description; other rows are pickled as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from inspect import getattr_static
from operator import length_hint
from typing import Any, NamedTuple, Union
from uuid import UUID

from django.apps import apps
from django.db.models import FileField, Model
from django.db.models.base import ModelBase, ModelState
from django.db.models.fields.files import FileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query import ModelIterable, ValuesIterable
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

from rover_overrides.cache.serialization import UnreadableError
from rover_overrides.core.bounded_table import BoundedTable
from rover_overrides.introspection.django_classes import (
    cached_by_identity,
    non_django_attributes,
)

PLAIN = frozenset(
    {type(None), UUID, bool, bytes, date, datetime, Decimal, float, int, str, time, timedelta}
)
"""Types whose values come out of the cache as they went in."""

Description = Union[str, tuple[str, tuple[Any, ...]]]
"""A description of one object, and those of its related objects."""
Stored = tuple[Description, tuple[Any, ...]]
"""A description, and the values of all rows one after the other."""
Rows = tuple["_Node", tuple[Any, ...]]
"""The same, with what the description means to this process."""

LAYOUT_BYTES = 4_000_000
"""How many bytes of descriptions a process remembers."""

_MAKING = frozenset(
    """
    __delattr__ __getattribute__ __getstate__ __init__ __new__ __reduce__ __reduce_ex__ __setattr__
    __setstate__ __slots__ from_db
    """.split()  # noqa: SIM905 - it reads better than ten quotes
)
"""What a model must not define for its objects to be made of their values."""
_DESCRIPTORS = frozenset({DeferredAttribute, ForeignKeyDeferredAttribute})
_ALWAYS, _SOMETIMES, _NEVER, _PARENT = range(4)
"""Whether there is a related object: in all rows, in some, in none, or the object that leads to it.

The last is how the other side of a one-to-one relation is cached.
"""

_FETCH_MODE: Mapping[str, Any] = (
    {"fetch_mode": ModelState().fetch_mode} if hasattr(ModelState, "fetch_mode") else {}
)
"""What Django 6.1 adds to the state of objects, in its default mode."""


class _NotPlainError(Exception):
    """The rows are more than their values."""


class _Node(NamedTuple):
    """What a description means: objects of a model, or dicts without one, and their names."""

    model: Any
    names: tuple[str, ...]
    related: tuple[tuple[str, int, _Node | None], ...] = ()

    def models(self) -> Iterator[Any]:
        """Yield the models of all objects."""
        yield self.model
        for _, _, node in self.related:
            if node is not None:
                yield from node.models()


def pack(queryset: Any, rows: Sequence[Any]) -> Stored | None:
    """Return rows as they are stored, or None if they must be pickled."""
    kind, query = queryset._iterable_class, queryset.query
    try:
        if rows and kind is ModelIterable:
            return _pack_objects(rows, {*query.annotation_select, *query.extra_select}, queryset.db)
        return _pack_dicts(rows) if rows and kind is ValuesIterable else None
    except (_NotPlainError, RecursionError):  # the latter for JSON that is nested too deeply
        return None


def unpack(stored: Stored) -> Rows:
    """Return stored rows with what their description means here.

    Raises UnreadableError if a model has changed since.
    """
    description, values = stored
    node = _nodes.get(description)
    if node is None or not _is_current(node):
        node = _nodes.put(description, _read(description))
    return node, values


def build(rows: Rows, using: str) -> list[Any]:
    """Make the objects, as Django makes them from a database."""
    node, values = rows
    found: list[Any] = []
    rest, model, names = iter(values), node.model, node.names
    if model is None:
        while length_hint(rest):
            found.append(dict(zip(names, rest)))
    elif node.related:
        while length_hint(rest):
            found.append(_related_object(node, rest, using, None))
    else:
        # Not by a function, because a page of rows is the most frequent hit.
        while length_hint(rest):
            made, state = model.__new__(model), ModelState()
            state.__dict__.update(_FETCH_MODE, adding=False, db=using)
            made.__dict__["_state"] = state
            made.__dict__.update(zip(names, rest))
            found.append(made)
    return found


def _related_object(node: _Node, values: Iterator[Any], using: str, parent: Any) -> Any:
    made, state = node.model.__new__(node.model), ModelState()
    state.__dict__.update(_FETCH_MODE, adding=False, db=using)
    made.__dict__["_state"] = state
    made.__dict__.update(zip(node.names, values))
    if node.related:
        cache = state.__dict__["fields_cache"] = {}
        for name, kind, child in node.related:
            if kind == _PARENT:
                cache[name] = parent
            elif child is None or (kind == _SOMETIMES and not next(values)):
                cache[name] = None
            else:
                cache[name] = _related_object(child, values, using, made)
    return made


def _pack_dicts(rows: Sequence[Any]) -> Stored:
    names = tuple(rows[0])
    values: list[Any] = []
    for row in rows:
        if type(row) is not dict or tuple(row) != names:
            raise _NotPlainError
        values += row.values()
    return _spell("", names, ()), _plain(values)


def _pack_objects(rows: Sequence[Any], annotations: set[str], using: str) -> Stored:
    state = {**_FETCH_MODE, "adding": False, "db": using}
    seen: list[Any] = []
    description = _describe(rows, None, annotations, state, seen)
    if len(set(map(id, seen))) < len(seen):  # select_related() makes one for each row
        raise _NotPlainError
    values: list[Any] = []
    for row in rows:
        if type(description) is tuple:
            _append(description, row, values)
        else:
            values += list(row.__dict__.values())[1:]  # the first is its state
    return description, _plain(values)


def _describe(
    objects: Sequence[Any],
    parents: Sequence[Any] | None,
    annotations: set[str],
    state: Mapping[str, Any],
    seen: list[Any],
) -> Description:
    """Return the one description of objects; raise _NotPlainError if there is none."""
    model, names = type(objects[0]), tuple(objects[0].__dict__)
    relations = tuple(objects[0]._state.__dict__.get("fields_cache") or ())
    fields = _field_names(model)
    if not fields or names[0] != "_state" or not _is_current(_Node(model, names)):
        raise _NotPlainError
    for one in objects:
        held = one._state.__dict__
        cache = held.get("fields_cache")
        if (
            type(one) is not model
            or type(one._state) is not ModelState
            or tuple(one.__dict__) != names
            or tuple(cache or ()) != relations
            or held not in (state, {**state, "fields_cache": cache})
        ):
            raise _NotPlainError
    seen += objects
    own = [name for name in names if name in fields]
    added = names[1 + len(own) :]
    if not annotations.issuperset(added):
        raise _NotPlainError
    spelled = _spell(model._meta.label_lower, own, added)
    if not relations:
        return spelled
    return spelled, tuple(_relation(name, objects, parents, state, seen) for name in relations)


def _relation(
    name: str,
    objects: Sequence[Any],
    parents: Sequence[Any] | None,
    state: Mapping[str, Any],
    seen: list[Any],
) -> tuple[str, int, Description | None]:
    held = [one._state.fields_cache[name] for one in objects]
    if parents is not None and all(one is parent for one, parent in zip(held, parents)):
        return name, _PARENT, None
    present = [(one, owner) for one, owner in zip(held, objects) if one is not None]
    if not present:
        return name, _NEVER, None
    found, owners = zip(*present)
    if not all(isinstance(one, Model) for one in found):
        raise _NotPlainError
    kind = _ALWAYS if len(found) == len(objects) else _SOMETIMES
    return name, kind, _describe(found, owners, set(), state, seen)


def _append(description: Description, one: Any, values: list[Any]) -> None:
    """Append the values of an object and of its related ones, in the order of building them."""
    values += list(one.__dict__.values())[1:]
    for name, kind, child in description[1] if type(description) is tuple else ():
        related = one._state.fields_cache[name]
        if kind == _SOMETIMES:
            values.append(related is not None)
        if child is not None and related is not None:
            _append(child, related, values)


def _plain(values: list[Any]) -> tuple[Any, ...]:
    """Return values if they, and those in the lists and dicts among them, are of plain types."""
    if not PLAIN.issuperset(map(type, values)):
        for value in values:
            if type(value) is dict:
                _plain([*value, *value.values()])
            elif type(value) in {list, tuple}:
                _plain(value)
            elif type(value) not in PLAIN:
                raise _NotPlainError
    return tuple(values)


def _spell(label: str, names: Sequence[str], annotations: Sequence[str]) -> str:
    spelled = [*names, *annotations]
    # Of `values()` they are the caller's own objects, which may be members of an enumeration.
    if not names or {*map(type, spelled)} != {str} or not all(map(str.isidentifier, spelled)):
        raise _NotPlainError
    return f"{label} {' '.join(names)}" + (f"|{' '.join(annotations)}" if annotations else "")


def _read(description: Description) -> _Node:
    """Return what a description means here; raise UnreadableError if a name means nothing."""
    spelled, relations = (description, ()) if isinstance(description, str) else description
    fields, _, annotations = spelled.partition("|")
    label, *names = fields.split(" ")
    model = None
    if label:
        app, _, name = label.partition(".")
        model = apps.all_models[app].get(name) if app in apps.all_models else None
        if model is None or not _field_names(model).issuperset(names):
            raise UnreadableError(f"{label} has not all of the fields {' '.join(names)}")
    children = tuple((name, kind, child and _read(child)) for name, kind, child in relations)
    node = _Node(model, (*names, *annotations.split()), children)
    if not _is_current(node):
        raise UnreadableError(f"{label} is no longer made of its values alone")
    return node


def _is_current(node: _Node) -> bool:
    """Return whether the models are still those of their names, and nobody wants their signals."""
    for model in node.models() if node.related else (node.model,):
        if model is not None and (
            not _is_registered(model)
            or (pre_init.receivers and pre_init.has_listeners(model))
            or (post_init.receivers and post_init.has_listeners(model))
        ):
            return False
    return True


def _is_registered(model: Any) -> bool:
    options = model._meta
    return apps.all_models[options.app_label].get(options.model_name) is model


@cached_by_identity
def _field_names(model: Any) -> frozenset[str]:
    """Return the attributes of a model's fields; none if the application may take part in them."""
    fields = model._meta.concrete_fields
    is_plain = type(model) is ModelBase and _MAKING.isdisjoint(non_django_attributes(model))
    if not is_plain or not all(_is_plain_attribute(model, field) for field in fields):
        return frozenset()
    return frozenset(field.attname for field in fields)


def _is_plain_attribute(model: Any, field: Any) -> bool:
    descriptor = type(getattr_static(model, field.attname, None))
    return descriptor in _DESCRIPTORS or (descriptor is FileDescriptor and type(field) is FileField)


_nodes: BoundedTable[Description, _Node] = BoundedTable(LAYOUT_BYTES)
