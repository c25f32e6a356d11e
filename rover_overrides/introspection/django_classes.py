"""Which objects are Django's own: fields, lookups, expressions, queries and connections.

It cannot be known what an application's class does. A class counts as Django's own if Django's
module has the very same class under its name. A subclass counts too if it overrides nothing that
Django uses to generate SQL.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any, TypeVar

from django.core.exceptions import FieldError
from django.db.models import Field, ForeignKey, lookups
from django.db.models.fields import related_lookups
from django.db.models.lookups import Lookup
from django.db.models.sql.datastructures import BaseTable, Join

MAX_CACHED = 4096
"""For how many classes or fields `cached_by_identity` keeps the results of a function."""

# Some of these names are new in Python 3.13 and 3.14.
COMMON_ATTRIBUTES = frozenset(
    """
    __abstractmethods__ __annotate__ __annotate_func__ __annotations__ __annotations_cache__
    __class_getitem__ __dict__ __doc__ __firstlineno__ __init__ __init_subclass__ __module__
    __orig_bases__ __parameters__ __qualname__ __repr__ __slots__ __static_attributes__ __str__
    __weakref__ _abc_impl
""".split()  # noqa: SIM905 - it reads better than thirty quotes
)
"""What any class may define."""
_NON_SQL_ATTRIBUTES = frozenset(
    """
    _default_hint _description _get_default check class_lookups clean deconstruct
    default_error_messages default_validators description error_messages formfield get_choices
    get_default has_default run_validators save_form_data validate validators value_to_string
""".split()  # noqa: SIM905 - as above
)
"""What a field may override without changing its SQL: forms, checks, migrations.

Lookups have classes of their own.
"""
_OPTIONAL_METHODS = frozenset(
    """
    __getattr__ from_db_value get_placeholder get_placeholder_sql
    """.split()  # noqa: SIM905 - as above
)
"""What Django uses if a field defines it, which Django's own fields mostly do not."""
_CONNECTION_ATTRIBUTES = frozenset(
    """
    Database SchemaEditorClass _close _commit _cursor _rollback _savepoint _savepoint_commit
    _savepoint_rollback _set_autocommit _start_transaction_under_autocommit chunked_cursor
    client_class close close_if_health_check_failed close_if_unusable_or_obsolete commit connect
    create_cursor creation_class cursor display_name ensure_connection features_class
    get_connection_params get_new_connection init_connection_state introspection_class is_usable
    make_cursor make_debug_cursor ops_class pool close_pool rollback savepoint savepoint_commit
    savepoint_rollback set_autocommit
""".split()  # noqa: SIM905 - as above
)
"""What a database backend may override without changing what a comparison means.

This is how it connects and what it notifies.
"""


Result = TypeVar("Result")


def cached_by_identity(function: Callable[[Any], Result]) -> Callable[[Any], Result]:
    """Cache a function's results by the identity of its argument, a field or a class.

    Equality is not enough, because fields that are equal may differ.
    """
    # The object is kept too, so that no other object gets its id.
    cache: dict[int, tuple[Any, Result]] = {}

    @functools.wraps(function)
    def cached(thing: Any) -> Result:
        try:
            return cache[id(thing)][1]
        except KeyError:
            result = function(thing)
        if len(cache) >= MAX_CACHED:
            cache.clear()
        cache[id(thing)] = thing, result
        return result

    return cached


def is_django_class(cls: type) -> bool:
    """Return whether a class is the one that its Django module has under its name."""
    if not cls.__module__.startswith("django."):
        return False
    current: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        current = getattr(current, name, None)
    return current is cls


@cached_by_identity
def is_django_field(field: Any) -> bool:
    """Return whether a field generates SQL and values as Django's own fields do.

    So must the fields that its foreign keys lead to.
    """
    related = _related_field(field)
    return not _changes_sql(field) and (related is None or is_django_field(related))


def resolve_target(field: Any) -> Any:
    """Return the field at the end of a chain of foreign keys, or the field itself."""
    while (related := _related_field(field)) is not None:
        field = related
    return field


def _related_field(field: Any) -> Any:
    if getattr(field, "remote_field", None) is None:
        return None
    try:
        return getattr(field, "target_field", None)
    except FieldError:  # a relation over several columns
        return None


def is_django_lookup(lookup: Any) -> bool:
    """Return whether a lookup is one of Django's general ones, unpatched."""
    return type(lookup) in _LOOKUPS and _is_unpatched(type(lookup))


def is_unpatched_django_class(cls: type) -> bool:
    """Return whether a class is Django's own, unpatched."""
    return _is_django_class(cls) and _is_unpatched(cls)


def is_patched(node: Any) -> bool:
    """Return whether Django's part of a node, which may be of a subclass, has been patched."""
    return not _is_unpatched(type(node)) or not COMPILE_METHODS.isdisjoint(node.__dict__)


def is_django_connection(connection: Any) -> bool:
    """Return whether a connection compares values as the Django backend that it derives from."""
    return _compares_like_django(type(connection))


def is_django_query(query: Any) -> bool:
    """Return whether a query is built and compiled by Django's own classes."""
    # The analysis itself sets `reset_refcounts`.
    return _is_django_class(type(query)) and _instance_overrides(query) <= {"reset_refcounts"}


def is_django_compiler(compiler: Any) -> bool:
    """Return whether a compiler is Django's own."""
    return _is_django_class(type(compiler))


def is_django_join(join: Any) -> bool:
    """Return whether a table of a query is joined by Django's own classes."""
    return type(join) in {BaseTable, Join}


def overrides_any(field: Any, names: Iterable[str]) -> bool:
    """Return whether a field, or a class of it that is not Django's, defines one of the names."""
    return any(name in non_django_attributes(type(field)) or name in vars(field) for name in names)


@cached_by_identity
def non_django_attributes(cls: type) -> frozenset[str]:
    """Return the names that a class and those of its bases define that are not Django's own."""
    others = [one for one in cls.__mro__ if one is not object and not _is_django_class(one)]
    return frozenset().union(*map(vars, others))


def _django_subclasses(module: Any, base: type) -> Iterator[type]:
    for found in vars(module).values():
        if (
            isinstance(found, type)
            and issubclass(found, base)
            and found.__module__ == module.__name__
            and is_django_class(found)
        ):
            yield found


_LOOKUPS = frozenset(
    {*_django_subclasses(lookups, Lookup), *_django_subclasses(related_lookups, Lookup)}
)

COMPILE_METHODS = frozenset({"as_sql", "as_sqlite", "as_postgresql", "as_mysql", "as_oracle"})
"""Methods that an application may have set on a single expression."""

_is_django_class = cached_by_identity(is_django_class)


@cached_by_identity
def _is_unpatched(cls: type) -> bool:
    """Return whether the Django classes in a class's MRO have no functions patched in."""
    return not [one for one in cls.__mro__ if _is_django_class(one) and _has_foreign_functions(one)]


@cached_by_identity
def _has_foreign_functions(cls: type) -> bool:
    found = [
        value
        for name, value in list(vars(cls).items())
        if type(value) is FunctionType and name not in COMMON_ATTRIBUTES
    ]
    # `functools.total_ordering` adds comparison methods.
    modules = {value.__globals__["__name__"] for value in found} - {"functools"}
    return bool([module for module in modules if module[:7] != "django."])


def _instance_overrides(thing: Any) -> set[str]:
    """Return the methods that a single object overrides in its own `__dict__`."""
    return set(_method_names(type(thing)).intersection(vars(thing)))


@cached_by_identity
def _method_names(cls: type) -> frozenset[str]:
    return frozenset(
        [
            name
            for one in cls.__mro__
            for name, value in list(vars(one).items())
            if type(value) is FunctionType
        ]
    )


@cached_by_identity
def _changes_sql(field: Any) -> bool:
    return _class_changes_sql(type(field)) or not _NON_SQL_ATTRIBUTES.issuperset(
        _instance_overrides(field)
    )


@cached_by_identity
def _class_changes_sql(cls: type) -> bool:
    own = non_django_attributes(cls) - COMMON_ATTRIBUTES - _NON_SQL_ATTRIBUTES
    bases = [one for one in cls.__mro__ if issubclass(one, Field) and _is_django_class(one)]
    if not bases or not _is_unpatched(cls):
        return True
    used_by_django = _OPTIONAL_METHODS.union(*map(dir, bases), dir(ForeignKey)) if own else ()
    # Methods named `_check_*` are system checks.
    return any(name in used_by_django and not name.startswith("_check_") for name in own)


@cached_by_identity
def _compares_like_django(wrapper: Any) -> bool:
    if any(
        non_django_attributes(one) - COMMON_ATTRIBUTES
        for one in (wrapper.ops_class, wrapper.features_class)
    ):
        return False
    own = non_django_attributes(wrapper) - COMMON_ATTRIBUTES - _CONNECTION_ATTRIBUTES
    return not own or own.isdisjoint(
        name for one in wrapper.__mro__ if _is_django_class(one) for name in dir(one)
    )
