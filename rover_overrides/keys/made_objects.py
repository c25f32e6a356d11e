"""What decides, besides SQL and parameters, which Python objects a query returns.

A key must name all of it. A class is named by its module and its qualified name, but only if
importing that name returns the class itself. What has no such name, or reads values that cannot be
serialised, raises UnnamedError: its result is not stored.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from cacheops.utils import stamp_fields
from django.apps import apps
from django.db.models import QuerySet, query
from django.db.models.expressions import Col
from django.db.models.signals import post_init
from django.db.models.sql.query import Query
from django.utils import timezone, translation

from rover_overrides.introspection.django_classes import (
    cached_by_identity,
    non_django_attributes,
    overrides_any,
)
from rover_overrides.keys.encoding import stable_digest

Names = tuple[Any, ...]

_VALUES = frozenset(
    getattr(query, name)
    for name in (
        "FlatValuesListIterable",
        "NamedValuesListIterable",
        "ValuesIterable",
        "ValuesListIterable",
    )
    if hasattr(query, name)
)
_ONE_BY_ONE = getattr(query, "FETCH_ONE", None)  # the fetch mode of all objects before Django 6.1
# With the attributes that cacheops adds.
_OF_A_QUERYSET = frozenset(vars(QuerySet())) | {
    "_cacheprofile",
    "_cloning",
    "_cond_dnfs",
    "_prefix",
}
_OF_A_QUERY = frozenset(dir(Query(None)))
_OF_ROWS = ("apply_converters", "execute_sql", "get_converters", "get_select", "results_iter")
"""The compiler methods that decide what is made from the rows."""
# Prefixes of the attributes that this package sets.
_OWN = "_rover_", "rover_"
_MAKING = frozenset({"__init__", "__new__", "from_db"})
_READING = frozenset({"from_db_value"})


class UnnamedError(Exception):
    """Something that affects a result has no name by which another process would find the same."""


def maker_names(queryset: Any, compiler: Any) -> Names:
    """Return what decides, besides model and class, which objects a compiled query returns.

    These are plain values. Raises UnnamedError if something cannot be named.
    """
    _check_model(queryset.model)
    of_query = () if type(queryset.query) is Query else (_of_compiler(type(compiler)),)
    if _is_plain(queryset, compiler):
        return of_query
    are_own = (
        compiler.query.default_cols
        and compiler.klass_info is not None
        and not compiler.annotation_col_map
    )
    # The models' own columns are covered by the models' names.
    columns = () if are_own else _of_columns(queryset.model, compiler.select)
    return *of_query, *_of_rows(queryset, compiler), *columns


def _of_compiler(kind: type) -> str:
    """Return the name of the compiler of a custom query class, or "" if it makes rows as Django's.

    In the latter case the SQL describes it completely.
    """
    return "" if all(_is_djangos(kind, name) for name in _OF_ROWS) else name_of(kind)


def _is_plain(queryset: Any, compiler: Any) -> bool:
    """Return whether objects of the model are made from its own columns and from nothing else."""
    info = compiler.klass_info
    return (
        queryset._iterable_class is query.ModelIterable
        and info is not None
        and "related_klass_infos" not in info
        and not compiler.annotation_col_map
        and _fetch_mode(queryset) is _ONE_BY_ONE
    )


def _of_rows(queryset: Any, compiler: Any) -> Iterator[Any]:
    """Yield the names of what makes an object from a row, and of the row's values in the object."""
    kind, mode = queryset._iterable_class, _fetch_mode(queryset)
    if kind in _VALUES:
        yield queryset._fields
        yield _columns(compiler.query)
    elif kind is not query.ModelIterable:
        yield name_of(kind)
        yield name_of(type(queryset))  # the iterable may read its attributes too
        yield _own_attributes(queryset)
    if mode is not _ONE_BY_ONE:
        yield _of_mode(mode)
    if compiler.klass_info is not None:
        yield from _related(compiler.klass_info)


def _columns(compiled: Any) -> Names:
    selected = tuple(getattr(compiled, "selected", None) or ())
    extra = tuple(compiled.extra_select) if compiled.extra else ()
    return (
        selected,
        extra,
        compiled.values_select,
        tuple(compiled.annotation_select) if compiled.annotations else (),
    )


def _fetch_mode(queryset: Any) -> Any:
    return getattr(queryset, "_fetch_mode", None)


def _of_mode(mode: Any) -> str:
    """Return the name of a fetch mode; the objects keep a reference to this very one."""
    if not isinstance(mode.__reduce_ex__(2), str):
        raise UnnamedError(f"{type(mode).__name__} is not pickled as the name of an object")
    return _stable_digest_of(mode)


def _own_attributes(queryset: Any) -> str:
    """Return the digest of what a custom iterable may read of its queryset, besides Django's state.

    Raises UnnamedError for what belongs to the caller, or to all objects of a result together: how
    a custom iterable uses that is unknown.
    """
    if queryset._known_related_objects or getattr(_fetch_mode(queryset), "track_peers", False):
        raise UnnamedError(
            "an iterable of the application's own may use known related objects in any way"
        )
    held = [_beyond(queryset, _OF_A_QUERYSET), _beyond(queryset.query, _OF_A_QUERY)]
    return _stable_digest_of(held) if any(held) else ""


def _beyond(held: Any, known: frozenset[str]) -> dict[str, Any]:
    return {
        name: held.__dict__[name]
        for name in sorted(vars(held).keys() - known)
        if not name.startswith(_OWN)
    }


def _related(info: Any) -> Iterator[Any]:
    """Yield the names of the related objects that are made from the same row."""
    for related in info.get("related_klass_infos", ()):
        yield (
            *_of_model(related["model"]),
            related["field"].name,
            related["reverse"],
            *_related(related),
        )


def _of_columns(model: Any, select: Any) -> Iterator[Any]:
    """Yield the names of what converts the columns: fields and converting expressions."""
    made = [(number, column[0]) for number, column in enumerate(select)]
    plain = [one for _, one in made if type(one) is Col and one.target is one.output_field]
    if len(plain) < len(made):
        yield from ((number, *_of_expression(one)) for number, one in made if one not in plain)
    # Sorted, because the order of a set differs between processes.
    yield from sorted(map(_of_model, {one.target.model for one in plain} - {model}))


def _of_expression(expression: Any) -> Iterator[str]:
    kind = type(expression)
    if not _converts_as_djangos(kind):
        yield _stable_digest_of(expression)
        yield from language_and_time_zone()
    yield name_of(kind)
    if getattr(expression, "tzinfo", None) is not None:
        yield _stable_digest_of(expression.tzinfo)
    field = getattr(expression, "_output_field_or_none", None)
    if field is not None:
        yield from _of_field(field)


@cached_by_identity
def _converts_as_djangos(kind: type) -> bool:
    return _is_djangos(kind, "convert_value") and _is_djangos(kind, "get_db_converters")


def _of_field(field: Any) -> Iterator[str]:
    """Yield the name of a field in its model; without a model, the digest of its class and state.

    Raises UnnamedError for a copy of a model's field.
    """
    model = getattr(field, "model", None)
    if model is None:
        yield _stable_digest_of(field)
        if overrides_any(field, _READING):
            yield from language_and_time_zone()
    elif model._meta.get_field(field.name) is field:
        yield from (*_of_model(model), field.name)
    else:
        raise UnnamedError(f"{field} is a copy of a model's field")


def _is_djangos(kind: type, name: str) -> bool:
    """Return whether a class inherits an attribute from one of Django's, or lacks it."""
    owner: Any = next((one for one in kind.__mro__ if name in one.__dict__), None)
    return owner is None or owner.__module__.startswith("django.")


def _of_model(model: Any) -> Names:
    """Return the name and the fields of a model, and what else its own code may depend on."""
    _check_model(model)
    return (
        model._meta.label,
        stamp_fields(model),
        *(language_and_time_zone() if runs_application_code(model) else ()),
    )


@cached_by_identity
def runs_application_code(model: Any) -> bool:
    """Return whether application code runs when objects of a model, or their values, are made."""
    if not _MAKING.isdisjoint(non_django_attributes(model)) or post_init.has_listeners(model):
        return True
    return any(overrides_any(field, _READING) for field in model._meta.concrete_fields)


def language_and_time_zone() -> Names:
    """Return what such code may depend on: the active language and time zone.

    A model may note the language in which it was made; a field may translate its values.
    """
    return translation.get_language(), timezone.get_current_timezone_name()


def _check_model(model: Any) -> None:
    """Raise UnnamedError if a model is not in the app registry: its objects cannot be read back."""
    options = model._meta
    if (
        options.apps is not apps
        or apps.all_models[options.app_label].get(options.model_name) is not model
    ):
        raise UnnamedError(f"{options.label} is not a model of an installed application")


def name_of(kind: type) -> str:
    """Return the name by which a class is imported; raise UnnamedError if it has none."""
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not kind:
        raise UnnamedError(f"{kind.__module__}.{kind.__qualname__} does not name the class itself")
    return f"{kind.__module__}.{kind.__qualname__}"


def _stable_digest_of(value: Any) -> str:
    try:
        return stable_digest(value)
    except Exception as error:
        raise UnnamedError(f"{type(value).__name__} has no spelling: {error}") from error
