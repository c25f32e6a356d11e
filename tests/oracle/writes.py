"""Random writes as Python source, of every kind that Django has, in and out of transactions and beside another connection."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from oracle import queries, values
from oracle.rover.models import (
    Author,
    Category,
    Comment,
    Country,
    Detail,
    Item,
    Region,
    Role,
    Special,
)

_MODELS = (
    Item,
    Item,
    Item,
    Item,
    Item,
    Category,
    Category,
    Author,
    Author,
    Comment,
    Comment,
    Region,
    Country,
    Special,
    Detail,
    Role,
)
_LINKS = (
    (Item, "authors", Author),
    (Author, "items", Item),
    (Item, "alike", Item),
    (Item, "liked", Item),
    (Special, "authors", Author),
)
_CHILDREN = (
    (Category, "items", Item),
    (Author, "owned", Item),
    (Author, "pupils", Author),
    (Category, "children", Category),
)


def write(rng: Random, pool: Sequence[str]) -> str:
    """Return the source of a step that writes; `pool` are the queries that are cached now."""
    chance = rng.random()
    if chance < 0.02:
        return f"forget({rng.choice((0.2, 0.5, 0.8))})"
    if chance < 0.62:
        return single_write(rng)
    if chance < 0.84:
        return _transaction(rng, 2)
    return _beside(rng, pool)


def single_write(rng: Random) -> str:
    """Return one statement that writes."""
    model = rng.choice(_MODELS)
    kinds = (
        _save,
        _save,
        _save,
        _same,
        _part,
        _part,
        _create,
        _delete,
        _update,
        _update,
        _bulk,
        _many,
        _overwrite,
        _or,
        _related,
    )
    return rng.choice(kinds)(rng, model)


def _transaction(rng: Random, depth: int) -> str:
    head = rng.choices(("atomic()", "undone()", "manual()"), (6, 3, 1 if depth == 2 else 0))[0]
    body = []
    for _ in range(rng.choice((1, 2, 2, 3))):
        chance = rng.random()
        if chance < 0.6 or not depth:
            body.append(single_write(rng))
        elif chance < 0.72:
            body.append(f"look({queries.simple_read(rng)!r})")
        elif chance < 0.78:
            body.append(f"on_commit(lambda: look({queries.simple_read(rng)!r}))")
        elif head == "manual()":
            body.append("commit()")
        else:
            body.append(_transaction(rng, depth - 1))
    return f"with {head}:\n" + indented("\n".join(body))


def _beside(rng: Random, pool: Sequence[str]) -> str:
    """Let another connection stop at one of its statements, or around its commit, while this one step_names."""
    chance, known = rng.random(), rng.choice((*pool, "")) or queries.simple_read(rng)
    read = known if rng.random() < 0.6 else queries.simple_read(rng)
    if chance < 0.4:
        other = f"look({read!r})"
    elif chance < 0.55:
        other = f"with atomic():\n    look({queries.simple_read(rng)!r})\n    look({read!r})"
    else:
        other = single_write(rng) if rng.random() < 0.5 else _transaction(rng, 0)
    here = (single_write(rng), _transaction(rng, 0), f"look({read!r})")
    action = rng.choices(here, (5, 2, 3 if chance >= 0.55 else 0))[0]
    point = rng.choice(
        ("1", "1", "2", "3", "'commit'", "'committed'") if chance >= 0.4 else ("1", "1", "2")
    )
    first = "forget()\n" if read == known and rng.random() < 0.8 else ""
    return f"{first}with beside({point}, {other!r}):\n" + indented(action)


def indented(text: str) -> str:
    """Return a block, one step in."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def columns(model: Any) -> list[Any]:
    """List the columns that a write may set."""
    return [
        f
        for f in model._meta.get_fields()
        if f.concrete and not f.many_to_many and not f.primary_key
    ]


def some_values(rng: Random, model: Any, least: int = 0) -> str:
    """Return keyword arguments for some columns."""
    some = rng.sample(
        columns(model), min(len(columns(model)), max(least, rng.choice((1, 1, 2, 3))))
    )
    return ", ".join(f"{f.attname}={_value(rng, f)}" for f in some if not f.auto_created)


def _value(rng: Random, field: Any) -> str:
    if field.is_relation:
        return (
            "None"
            if field.null and rng.random() < 0.25
            else str(values.keys(rng, field.related_model, beyond=0)[0])
        )
    return values.stored(rng, field)


def _save(rng: Random, model: Any) -> str:
    how = rng.choices(("save", "save_read", "save_held"), (6, 2, 1))[0]
    return f"{how}({model.__name__}, {values.key(rng, model)}, {some_values(rng, model)})"


def _same(rng: Random, model: Any) -> str:
    return f"save({model.__name__}, {values.key(rng, model)})"


def _part(rng: Random, model: Any) -> str:
    names = ", ".join(repr(f.name) for f in rng.sample(columns(model), 1))
    how = rng.choice(("save_fields", "save_only", "save_expression", "delete_only", "updated_only"))
    if how == "save_expression":
        numbers = [
            f
            for f in columns(model)
            if f.get_internal_type() in ("IntegerField", "BigIntegerField")
        ]
        if numbers:
            return f"save({model.__name__}, {values.key(rng, model)}, {numbers[0].name}=F({numbers[0].name!r}) + 1)"
        how = "save_fields"
    if how == "delete_only":
        return (
            f"delete_only({model.__name__}, {values.key(rng, model)})"
            if rng.random() < 0.3
            else _save(rng, model)
        )
    if how == "updated_only":
        return f"invalidated({model.__name__}.objects.only('pk').filter({queries.leaf(rng, model, 0)}), {some_values(rng, model)})"
    more = some_values(rng, model)
    if how == "save_fields":
        return f"save_fields({model.__name__}, {values.key(rng, model)}, {more})"
    return f"save_only({model.__name__}, {values.key(rng, model)}, ({names},), {more})"


def _create(rng: Random, model: Any) -> str:
    return f"create({model.__name__}, {row_values(rng, model)})"


def row_values(rng: Random, model: Any, more: int | None = None) -> str:
    """Return keyword arguments for all columns that a row needs, and for some more."""
    needed = [
        f for f in columns(model) if not f.null and not f.has_default() and not f.auto_created
    ]
    others = [f for f in columns(model) if f not in needed and not f.auto_created]
    some = [
        *needed,
        *rng.sample(others, min(len(others), rng.choice((1, 3, 6)) if more is None else more)),
    ]
    return ", ".join(f"{f.attname}={_value(rng, f)}" for f in some)


def _delete(rng: Random, model: Any) -> str:
    if rng.random() < 0.5:
        return f"delete({model.__name__}, {values.key(rng, model)})"
    return f"delete_all({model.__name__}.objects.filter(pk__in={values.keys(rng, model, 2)}))"


def _update(rng: Random, model: Any) -> str:
    where = (
        queries.leaf(rng, model, rng.choice((0, 0, 0, 1)))
        if rng.random() < 0.6
        else f"pk={values.key(rng, model)}"
    )
    numbers = [
        f.name
        for f in columns(model)
        if f.get_internal_type() in ("IntegerField", "BigIntegerField")
    ]
    texts = [f.name for f in columns(model) if f.get_internal_type() in ("CharField", "TextField")]
    what = some_values(rng, model)
    chance = rng.random()
    if numbers and chance < 0.25:
        what = f"{numbers[0]}=F({numbers[0]!r}) + 1"
    elif texts and chance < 0.4:
        what = rng.choice(
            (f"{texts[0]}=Upper({texts[0]!r})", f"{texts[0]}=F({rng.choice(texts)!r})")
        )
    return f"update({model.__name__}.objects.filter({where}), {what})"


def _bulk(rng: Random, model: Any) -> str:
    if model is Special:
        return _save(rng, model)
    kind = rng.choice(("bulk_create", "bulk_ignore", "bulk_upsert", "bulk_update"))
    pks = sorted(values.keys(rng, model, 2))
    if kind == "bulk_update":
        return f"bulk_update({model.__name__}, {pks}, {some_values(rng, model)})"
    named = "" if kind == "bulk_create" else "pk={}, "
    made = ", ".join(f"dict({named.format(pk)}{row_values(rng, model)})" for pk in pks)
    return f"{kind}({model.__name__}, [{made}])"


def _many(rng: Random, model: Any) -> str:
    at, name, other = rng.choice(_LINKS)
    kind = rng.choice(("add", "add", "remove", "set", "clear"))
    pks = "" if kind == "clear" else f", {values.keys(rng, other, rng.choice((1, 2)))}"
    return f"linked({at.__name__}, {values.key(rng, at)}, {name!r}, {kind!r}{pks})"


def _overwrite(rng: Random, model: Any) -> str:
    return f"overwrite({model.__name__}, pk={values.key(rng, model)}, {row_values(rng, model)})"


def _or(rng: Random, model: Any) -> str:
    how = rng.choice(("get_or_create", "update_or_create"))
    return f"{how}({model.__name__}, {values.key(rng, model)}, {row_values(rng, model)})"


def _related(rng: Random, model: Any) -> str:
    at, name, other = rng.choice(_CHILDREN)
    kind = rng.choice(("add", "remove", "set", "clear"))
    pks = "" if kind == "clear" else f", {values.keys(rng, other, 2)}"
    return f"linked({at.__name__}, {values.key(rng, at)}, {name!r}, {kind!r}{pks})"
