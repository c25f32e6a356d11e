"""Stale reads that the oracle found on upstream 7.2, each reduced to its steps: one for every kind of cause.

Each stands on the first rows of seed 0, says by its first steps what else it needs, then reads, then writes. Bare upstream must be
stale in every one (that is what gives the case teeth) and the series in none.
"""

from __future__ import annotations

FIRST = "update(Item.objects.all(), title='old', slug='old', price=2, score=1.0, rank=1, owner_id=1, category_id=1, plain='old')"
AUTHORS = "update(Author.objects.all(), name='old', nick='old', mentor_id=1)"
CLEAR = "linked(Item, 1, 'authors', 'set', [1])"


def _beside(point: str, other: str, here: str) -> str:
    return f"forget()\nwith beside({point}, {other!r}):\n    {here}"


CASES: dict[str, tuple[str, ...]] = {
    # writes that upstream does not see
    "update": (
        FIRST,
        "rows(Item.objects.filter(title='new'))",
        "update(Item.objects.filter(pk=1), title='new')",
    ),
    "update-by-expression": (
        FIRST,
        "count(Item.objects.filter(rank=2))",
        "update(Item.objects.filter(pk=1), rank=F('rank') + 1)",
    ),
    "bulk-update": (
        FIRST,
        "rows(Item.objects.filter(title='new'))",
        "bulk_update(Item, [1, 2], title='new')",
    ),
    "bulk-upsert": (
        AUTHORS,
        "rows(Author.objects.filter(name='old'))",
        "bulk_upsert(Author, [dict(pk=1, name='new'), dict(pk=2, name='new')])",
    ),
    "save-over-a-key": (
        AUTHORS,
        "rows(Author.objects.filter(name='old'))",
        "overwrite(Author, pk=1, name='new')",
    ),
    "save-with-expression": (
        FIRST,
        "count(Item.objects.filter(rank=2))",
        "save(Item, 1, rank=F('rank') + 1)",
    ),
    "reverse-set": (
        FIRST,
        "rows(Item.objects.filter(owner=2))",
        "linked(Author, 2, 'owned', 'set', [3])",
    ),
    "set-null-by-delete": (
        "update(Comment.objects.filter(pk=1), author_id=2)",
        "rows(Comment.objects.filter(pk=1))",
        "delete(Author, 2)",
    ),
    "child-of-inheritance": (
        FIRST,
        "rows(Item.objects.filter(title='new'))",
        "save(Special, 11, title='new')",
    ),
    # tables that upstream does not track
    "exclude-through-a-relation": (
        FIRST,
        CLEAR,
        "rows(Author.objects.exclude(items__title='new'))",
        "save(Item, 1, title='new')",
    ),
    "key-in-subquery": (
        FIRST,
        "rows(Item.objects.filter(pk__in=Item.objects.filter(owner__name='new').values('pk')))",
        "save(Author, 1, name='new')",
    ),
    "exists": (
        "update(Comment.objects.all(), text='old', item_id=1)",
        "rows(Item.objects.filter(Exists(Comment.objects.filter(text='new', item=OuterRef('pk')))))",
        "save(Comment, 1, text='new')",
    ),
    "subquery-in-coalesce": (
        "update(Comment.objects.all(), likes=1, item_id=1)",
        "rows(Item.objects.annotate(s=Coalesce(Subquery(Comment.objects.filter(item=OuterRef('pk'), pk=1).values('likes')[:1]), 0)))",
        "save(Comment, 1, likes=7)",
    ),
    "select-related": (
        FIRST,
        "rows(Item.objects.select_related('owner'))",
        "save(Author, 1, name='new')",
    ),
    "ordered-by-relation": (
        FIRST,
        "update(Item.objects.filter(pk__gt=5), owner_id=2)",
        "update(Author.objects.filter(pk=1), name='a')",
        "update(Author.objects.filter(pk=2), name='b')",
        "ranked(Item.objects.order_by('owner__name', 'pk'))",
        "save(Author, 1, name='c')",
    ),
    "reverse-is-null": (
        "delete_all(Comment.objects.all())",
        "rows(Item.objects.filter(comments__isnull=True))",
        "create(Comment, item_id=1, text='new')",
    ),
    "many-is-null": (
        "linked(Item, 1, 'authors', 'clear')",
        "rows(Item.objects.filter(authors__isnull=True))",
        "linked(Item, 1, 'authors', 'add', [1])",
    ),
    "exclusive-or": (
        "update(Category.objects.all(), name='old')",
        "rows(Category.objects.filter(~Q(name='new') ^ Q(id=2)))",
        "save(Category, 4, name='new')",
    ),
    # values that are spelled in two ways
    "decimal": (
        FIRST,
        "rows(Item.objects.filter(price=Decimal('1.50')))",
        "save(Item, 1, price=Decimal('1.5'))",
    ),
    "zone": (
        FIRST,
        "rows(Item.objects.filter(at=at('2025-01-01T00:30:00+01:00')))",
        "save(Item, 1, at=at('2024-12-31T23:30:00+00:00'))",
    ),
    "minus-zero": (FIRST, "rows(Item.objects.filter(score=0.0))", "save(Item, 1, score=-0.0)"),
    "collation": (FIRST, "rows(Item.objects.filter(plain='NEW'))", "save(Item, 1, plain='new')"),
    # transactions and other connections
    "reader-overtaken": (
        FIRST,
        _beside(
            "1", "look(\"rows(Item.objects.filter(title='new'))\")", "save(Item, 1, title='new')"
        ),
    ),
    "serial-saves": (
        FIRST,
        _beside(
            # after the UPDATE: bare upstream selects the old row first
            "1 if __import__('importlib').util.find_spec('rover_overrides') else 2",
            "save(Item, 1, title='three')",
            "save(Item, 1, title='two')\n    look(\"rows(Item.objects.filter(title='two'))\")",
        ),
    ),
    "old-snapshot": (
        FIRST,
        _beside(
            "2",  # SQLite's BEGIN is the first
            "with atomic():\n    look('count(Country.objects.all())')\n    look(\"rows(Item.objects.filter(title='new'))\")",
            "save(Item, 1, title='new')",
        ),
    ),
    "commit-by-hand": (
        FIRST,
        "rows(Item.objects.filter(title='old'))",
        _beside(
            "'commit'",
            "with manual():\n    save(Item, 1, title='new')",
            "look(\"rows(Item.objects.filter(title='old'))\")",
        ),
    ),
}
"""The steps of each case by its name."""
