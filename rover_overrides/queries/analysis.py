"""What a query depends on: for each table, the conjs of rows that may change its result.

The WHERE tree becomes a disjunction of conjs. Its size is bounded and the time is linear in the
tree: conditions are left out where it would grow further. A row that matters under an alias must
meet the atoms on the alias; everything else in the query only makes more rows matter. A query
inside the query is analysed in the same way. A query that has no fixed result, or is not
understood, raises `UncacheableError` and is not cached.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast

from cacheops.conf import settings as cacheops_settings
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models.lookups import Lookup
from django.db.models.sql.constants import LOUTER
from django.db.models.sql.query import Query
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode

from rover_overrides.conditions.canonical_values import NotComparableError
from rover_overrides.conditions.conditions import TRUE, UNCACHED, Atom, Conj, Path, conjs_of
from rover_overrides.core.switches import disabled_features, is_enabled
from rover_overrides.introspection.application_sql import UncacheableError
from rover_overrides.introspection.django_classes import is_django_connection
from rover_overrides.introspection.schema import model_of
from rover_overrides.keys.compile_copies import compile_copy
from rover_overrides.keys.query_state import state_of, update_state
from rover_overrides.queries.expressions import QueryContents, query_contents
from rover_overrides.queries.library_queries import LibraryQueryError, is_library_query
from rover_overrides.queries.library_queries import tables_of as library_query_tables
from rover_overrides.queries.lookups import (
    ANYTHING,
    AliasedAtom,
    Backend,
    Disjunction,
    lookup_atoms,
    merge_equalities,
)
from rover_overrides.queries.prepared import prepare

MAX_CONJS = 16
"""How many conjs a WHERE tree may become; beyond that, conditions are left out."""
MAX_CONJ_ATOMS = 48
"""How many atoms a conj may have on all tables; beyond that, more are left out."""

Dependencies = dict[str, list[Conj]]
Aliases = dict[str, Any]


def dependencies(
    queryset: Any, purpose: str = "sample", frames: dict[Any, Any] | None = None
) -> Dependencies:
    """Return the conjs of each table on which a queryset's result depends.

    The conj is UNCACHED if the result must not be stored. `purpose` is as in
    `rover_overrides.queries.dependencies`; a sample reads all columns. `frames` keeps what is the
    same for all queries of a shape, if the query has one; it must be of Django's own classes and
    have no query inside.
    """
    try:
        try:
            found = _dependencies(queryset, purpose, frames)
        except LibraryQueryError:
            found = {table: [TRUE] for table in library_query_tables(queryset.query, queryset.db)}
    except (UncacheableError, RecursionError):  # the latter for a tree that is too deep
        found = {queryset.model._meta.db_table: [UNCACHED]}
    # Without a model in the app registry, raw SQL that changes the table would not be noticed.
    return found if all(map(model_of, found)) else {queryset.model._meta.db_table: [UNCACHED]}


class _Frame(NamedTuple):
    """What is known of a query without the operands of its WHERE."""

    aliases: Aliases
    tables: Collection[str]
    """The tables that any of its rows depends on."""
    reads: Mapping[str, Atom]
    coarse: bool


def _dependencies(queryset: Any, purpose: str, frames: dict[Any, Any] | None) -> Dependencies:
    using, where = queryset.db, queryset.query.where
    if frames is None:
        return _joined_conjs(_frames(queryset, purpose), using)
    # The switches and the skipped fields affect the analysis.
    known = purpose, tuple(cacheops_settings.CACHEOPS_SKIP_FIELDS), *disabled_features()
    if known not in frames:
        ((query, frame),) = _frames(queryset, purpose)  # such a query has none inside
        found = _with_where(query, frame, using, where)
        analyse = partial(_with_where, query, frame, using)
        frames[known] = frame, prepare(where, frame.aliases.values(), analyse, found)
        return found
    frame, prepared = frames[known]
    if prepared is not None:
        with suppress(NotComparableError):
            return cast("Dependencies", prepared.fill(where))
    return _with_where(queryset.query, frame, using, where)


def _with_where(query: Query, frame: _Frame, using: str, where: Any) -> Dependencies:
    """Return the dependencies of a query, but with another WHERE of the same structure."""
    copied = copy(query)
    copied.where = where
    return _joined_conjs([(copied, frame)], using)


def _joined_conjs(each: Iterable[tuple[Query, _Frame]], using: str) -> Dependencies:
    found: dict[str, set[Conj]] = defaultdict(set)
    for query, frame in each:
        for table in frame.tables:
            found[table].add(TRUE)
        for table, conjs in _query_conjs(query, frame, using):
            found[table].update(conjs)
    return {table: [TRUE] if TRUE in conjs else sorted(conjs) for table, conjs in found.items()}


def _frames(queryset: Any, purpose: str) -> Iterator[tuple[Query, _Frame]]:
    """Yield the frame of a query, and those of the queries inside it."""
    queries = list(_queries(queryset.query, queryset.db))
    coarse = any(found.raw_sql for _, _, found in queries) or not all(
        map(is_enabled, _required_features(queries))
    )
    reads = (
        {} if coarse or purpose == "sample" else _columns_read(queries, is_count=purpose == "count")
    )
    for query, aliases, contents in queries:
        yield query, _Frame(aliases, contents.tables, reads, coarse)


def _columns_read(
    queries: list[tuple[Query, Aliases, QueryContents]], *, is_count: bool
) -> dict[str, Atom]:
    if not is_enabled("column-dependencies"):
        return {}
    # The module goes with its feature, so it is imported only where that is enabled.
    from rover_overrides.queries.columns_read import read_columns_atoms

    return read_columns_atoms(queries, is_count=is_count)


def _queries(query: Query, using: str) -> Iterator[tuple[Query, Aliases, QueryContents]]:
    """Yield a query and those inside it, each with its joins once compiled and with its contents.

    Raises LibraryQueryError if one of them is not made of Django's own classes.
    """
    waiting = [query]
    while waiting:
        query = waiting.pop()
        if is_library_query(query, using):
            raise LibraryQueryError
        compiled = _compiled(query, using)
        found = query_contents(compiled, using)
        waiting += found.queries
        used = (alias for alias, count in compiled.alias_refcount.items() if count)
        # Extra tables are not in the alias map.
        aliases = {
            alias: compiled.alias_map[alias] for alias in used if alias in compiled.alias_map
        }
        yield compiled, aliases, found


def _compiled(query: Query, using: str) -> Query:
    """Return a copy of the query with the joins that Django adds when it compiles it.

    They are for the order, related rows and inherited fields.
    """
    copied: Query = compile_copy(query)
    plain = not (
        query.select_related or _ordered(query) or query.get_meta().parents or query.distinct_fields
    )
    if plain or query.combined_queries:
        _add_own_table(copied)
        return copied
    compiled: Query = compile_copy(query)
    # Otherwise Django would reset the counts of the joins after compiling.
    compiled.reset_refcounts = _keep_refcounts  # type: ignore[assignment,method-assign]
    try:
        compiled.order_by = tuple(_resolved(item, compiled) for item in compiled.order_by)
        compiler = compiled.get_compiler(connection=connections[using])
        compiler.as_sql()
        _store_order(compiled, compiler)
    except EmptyResultSet:
        _add_own_table(copied)
        return copied
    except Exception as error:
        raise UncacheableError(f"the query cannot be compiled by itself: {error}") from error
    return compiled


def _store_order(query: Query, compiler: Any) -> None:
    """Store on a compiled query what its rows are ordered by, which a model's Meta may define.

    It may be the query's model or a related one. The order does not affect the number of rows, nor
    an aggregate of all rows.
    """
    state = state_of(query)
    if state.is_count_only or (state.aggregates is not None and not query.is_sliced):
        return
    ordering = tuple(expression for expression, _ in compiler.get_order_by())
    update_state(query, ordering=ordering)


def _resolved(item: Any, query: Query) -> Any:
    """Resolve an item of the order as compiling does: a query inside it may refer to this one."""
    return (
        item
        if isinstance(item, str)
        else item.resolve_expression(query, allow_joins=True, reuse=None)
    )


def _add_own_table(query: Query) -> None:
    """Add its own table's alias to a query without aliases, unreferenced, as after compiling."""
    if not query.alias_map:
        query.unref_alias(query.get_initial_alias())


def _keep_refcounts(_to_counts: dict[str, int]) -> None:
    """Keep the reference counts of a compiled query's joins."""


def _ordered(query: Query) -> bool:
    return bool(
        query.order_by
        or query.extra_order_by
        or (query.default_ordering and query.get_meta().ordering)
    )


def _required_features(queries: list[tuple[Query, Aliases, QueryContents]]) -> Iterator[str]:
    """Yield the features without which the queries are analysed as coarsely as possible."""
    yield "bounded-analysis"
    if len(queries) > 1:
        yield "tracked-subqueries"
    for query, aliases, _ in queries:
        if any(getattr(join, "join_type", None) == LOUTER for join in aliases.values()):
            yield "reverse-null"
        if query.select_related or any(
            "__" in item.lstrip("-") for item in query.order_by if isinstance(item, str)
        ):
            yield "ordered-by-relation"


def _backend(using: str) -> Backend:
    connection = connections[using]
    utc = connection.vendor == "postgresql" or connection.timezone_name == "UTC"
    return Backend(connection.vendor, utc, is_django_connection(connection))


def _query_conjs(query: Query, frame: _Frame, using: str) -> Iterator[tuple[str, Iterable[Conj]]]:
    """Yield the table of each alias, with the conjs of its rows that matter."""
    # It has no rows of its own; its parts are analysed as the queries inside it.
    if query.combined_queries:
        return
    aliases, reads, coarse = frame.aliases, frame.reads, frame.coarse
    if not aliases:
        yield query.get_meta().db_table, [TRUE]
    tree = ANYTHING if coarse else _disjunction(query.where, _backend(using), negated=False)
    outer = {alias for alias, join in aliases.items() if join.join_type == LOUTER}
    paths = _paths(aliases)
    for alias, join in aliases.items():
        absent = outer if alias in outer else set()
        always = (
            []
            if coarse
            else [*_existence_atoms(paths[alias]), *([reads[alias]] if alias in reads else ())]
        )
        yield (
            join.table_name,
            chain.from_iterable(
                conjs_of([*_atoms_on_row(paths[alias], absent, conj), *always]) for conj in tree
            ),
        )


def _existence_atoms(paths: dict[str, Path]) -> Iterable[Atom]:
    """Return the atoms that a row must meet whatever the WHERE.

    They require the one row that leads to it by a unique key, such as that of a child model.
    """
    if len(paths) == 1:
        return ()
    from rover_overrides.queries.joins import existence

    return existence(paths.values())


def _paths(aliases: Aliases) -> dict[str, dict[str, Path]]:
    """Return for each alias the paths from its row to the rows that it leads to.

    The path to its own row is empty.
    """
    if not is_enabled("join-conditions"):
        return {alias: {alias: ()} for alias in aliases}
    # The module goes with its feature, so it is imported only where that is enabled.
    from rover_overrides.queries.joins import forward_hops, paths_from, reverse_hops

    hops, back = forward_hops(aliases), reverse_hops(aliases)
    return {alias: paths_from(alias, hops, back) for alias in aliases}


def _atoms_on_row(
    paths: dict[str, Path], absent: set[str], aliased_atoms: Iterable[AliasedAtom]
) -> Iterator[Atom]:
    """Yield the atoms of a conj that apply to a row under an alias.

    On the nullable side of an outer join, a row also matters by existing if the condition accepts
    NULL. So `IS NULL` is left out for the `absent` aliases: this one, and those behind it.
    """
    for where, atom in aliased_atoms:
        if where not in paths or (
            where in absent and atom.op == "isnull" and atom.operand == ("1",)
        ):
            continue
        if not paths[where]:
            yield atom
            continue
        from rover_overrides.queries.joins import lift

        yield lift(paths[where], atom)


def _disjunction(node: Any, backend: Backend, *, negated: bool) -> Disjunction:
    """Return a WHERE tree as a disjunction of conjs, with negations pushed down to the atoms."""
    if type(node) is WhereNode:
        negated = negated is not node.negated
        parts = [_disjunction(child, backend, negated=negated) for child in node.children]
        if node.connector not in {AND, OR}:  # XOR
            return ANYTHING
        return _any_of(parts) if (node.connector == OR) is not negated else _all_of(parts)
    if type(node) is NothingNode:
        return ANYTHING if negated else []
    return lookup_atoms(node, backend, negated=negated) if isinstance(node, Lookup) else ANYTHING


def _any_of(parts: list[Disjunction]) -> Disjunction:
    found = list(dict.fromkeys(chain.from_iterable(parts)))
    return found if parts and len(found) <= MAX_CONJS else ANYTHING


def _all_of(parts: list[Disjunction]) -> Disjunction:
    """Return the conjs that meet all parts; leave out a part that would make too many of them."""
    found: Disjunction = ANYTHING
    # The shortest first, so that as many as possible fit.
    for part in sorted(parts, key=len):
        fitting = part if len(found) * len(part) <= MAX_CONJS else merge_equalities(part)
        if len(found) * len(fitting) <= MAX_CONJS:
            found = list(dict.fromkeys(_both(one, other) for one in found for other in fitting))
    return found


def _both(one: frozenset[AliasedAtom], other: frozenset[AliasedAtom]) -> frozenset[AliasedAtom]:
    # With fewer atoms, only more rows matter.
    return one | other if len(one) + len(other) <= MAX_CONJ_ATOMS else one
