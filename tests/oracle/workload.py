"""What Rover's site does most of the day, for the share of needless drops; the same steps for every tree.

Of the reads 80 % filter one table (equality, case ignored, ranges, foreign keys, IN), 15 % filter through foreign keys and 5 % are
anything that `queries` makes. Of the writes most save a column or two of one row. Values are spread wide enough that a
row rarely matches a query by chance.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

from oracle import queries
from oracle.rover.models import Author, Category, Comment, Item, Region

UNUSUAL_READS: set[str] = set()
"""The reads of the last kind that were made so far; their drops are counted apart, too."""

_FIRST, _LAST = 100, 179
_AUTHORS, _CATEGORIES = range(1, 7), range(1, 7)
_DAY = date(2024, 1, 1)


def fill(rng: Random) -> None:
    """Add rows to the first ones, so that tables are no longer tiny, and give those that foreign keys lead to plain values."""
    for model, number in ((Item, _LAST - _FIRST + 1), (Comment, 60)):
        made = [
            model(pk=_FIRST + n, **{name: _plain(rng, name) for name in _COLUMNS[model]})
            for n in range(number)
        ]
        model.objects.bulk_create(made)
    for model in (Author, Category, Region):
        for pk in model.objects.order_by("pk").values_list("pk", flat=True):
            model.objects.filter(pk=pk).update(
                **{name: _plain(rng, name) for name in _COLUMNS[model]}
            )


def read(rng: Random) -> str:
    """Return the source of a read."""
    chance = rng.random()
    if chance < 0.05:
        made = queries.read(rng)
        UNUSUAL_READS.add(made)
        return made
    model = rng.choice((Item, Item, Item, Comment))
    conditions = [_own(rng, model) for _ in range(rng.choice((1, 1, 2, 3)))]
    if chance < 0.20:
        conditions[0] = _joined(rng, model)
    made = f"{model.__name__}.objects.filter({', '.join(_once(conditions))})"
    return rng.choices(
        (
            f"rows({made})",
            f"ranked({made}.order_by('pk')[:10])",
            f"count({made})",
            f"exists({made})",
        ),
        (5, 2, 2, 1),
    )[0]


def write(rng: Random) -> str:
    """Return the source of a write."""
    made = _single(rng)
    if rng.random() < 0.15:
        return f"with atomic():\n    {made}\n    {_single(rng)}"
    return made


_COLUMNS: dict[Any, tuple[str, ...]] = {
    Item: (
        "title",
        "body",
        "slug",
        "rank",
        "price",
        "live",
        "day",
        "at",
        "category_id",
        "owner_id",
    ),
    Comment: ("text", "likes", "item_id", "author_id", "made"),
    Author: ("name", "nick"),
    Category: ("name", "slug"),
    Region: ("name",),
}
_TEXT = ("title", "body", "slug", "name", "nick", "text")
_NUMBERS = ("rank", "price", "likes")


def _plain(rng: Random, name: str) -> Any:
    """Return a value for a column."""
    if name in _TEXT:
        return f"{rng.choice(('name', 'Name', 'NAME'))}-{rng.randrange(40)}"
    if name in _NUMBERS:
        return rng.randrange(60)
    if name == "live":
        return rng.random() < 0.5
    if name == "day":
        return _DAY + timedelta(days=rng.randrange(90))
    if name in ("at", "made"):
        return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=rng.randrange(2000))
    return rng.randrange(_FIRST, _LAST + 1) if name == "item_id" else rng.choice(_AUTHORS)


def _source(rng: Random, name: str) -> str:
    return _spelled(_plain(rng, name))


def _spelled(value: Any) -> str:
    if isinstance(value, datetime):
        return f"at({value.isoformat()!r})"
    return (
        f"date({value.year}, {value.month}, {value.day})"
        if isinstance(value, date)
        else repr(value)
    )


def _own(rng: Random, model: Any) -> str:
    """Return a condition on a column of the table."""
    name = rng.choice((*_COLUMNS[model], "pk"))
    if name == "pk":
        some = rng.sample(range(_FIRST, _LAST + 1), 12)
        return rng.choice((f"pk={some[0]}", f"pk__in={some[: rng.choice((2, 5, 12))]}"))
    value = _source(rng, name)
    if name in _TEXT:
        return rng.choice(
            (
                f"{name}={value}",
                f"{name}__iexact={value}",
                f"{name}__in=[{value}, {_source(rng, name)}]",
            )
        )
    if name == "live":
        return f"live={value}"
    if name.endswith("_id"):
        return rng.choice(
            (f"{name}={value}", f"{name}={value}", f"{name}__in=[{value}, {_source(rng, name)}]")
        )
    low, high = sorted((_plain(rng, name), _plain(rng, name)))
    limits = rng.choice((f"{name}__gte", f"{name}__lt")), f"{name}__range"
    return rng.choice(
        (
            f"{name}={value}",
            f"{limits[0]}={value}",
            f"{limits[1]}=({_spelled(low)}, {_spelled(high)})",
        )
    )


def _joined(rng: Random, model: Any) -> str:
    """Return a condition on a column behind foreign keys."""
    paths = {
        Item: (
            "category__name",
            "category__slug",
            "owner__name",
            "owner__nick",
            "category__parent__name",
            "category__region__name",
        ),
        Comment: (
            "item__title",
            "item__slug",
            "author__name",
            "item__category__name",
            "item__owner__name",
        ),
    }
    path = rng.choice(paths[model])
    return f"{path}{rng.choice(('', '', '__iexact'))}={_source(rng, 'name')}"


def _once(conditions: list[str]) -> list[str]:
    """Keep one condition a keyword."""
    return list({condition.split("=")[0]: condition for condition in conditions}.values())


def _single(rng: Random) -> str:
    model = rng.choices((Item, Comment, Author, Category), (10, 4, 1, 1))[0]
    names = rng.sample(_COLUMNS[model], rng.choice((1, 1, 2)))
    values = ", ".join(f"{name}={_source(rng, name)}" for name in names)
    pk = (
        rng.choice(_AUTHORS)
        if model in (Author, Category)
        else rng.randrange(_FIRST, _FIRST + (80 if model is Item else 60))
    )
    whole = ", ".join(f"{name}={_source(rng, name)}" for name in _COLUMNS[model])
    kinds = {
        f"save({model.__name__}, {pk}, {values})": 60,
        f"save_fields({model.__name__}, {pk}, {values})": 15,
        f"save({model.__name__}, {pk})": 5,
        f"create({model.__name__}, {whole})": 8,
        f"update({model.__name__}.objects.filter(pk={pk}), {values})": 6,
        f"delete(Comment, {rng.randrange(_FIRST, _FIRST + 60)})": 3,
        f"linked(Item, {rng.randrange(_FIRST, _LAST)}, 'authors', 'add', [{rng.choice(_AUTHORS)}])": 3,
    }
    return rng.choices(list(kinds), list(kinds.values()))[0]
