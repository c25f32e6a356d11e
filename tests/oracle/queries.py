"""Random queries as Python source: `op(queryset)`, where op says what is read of it (see `reads`)."""

from __future__ import annotations

from random import Random
from typing import Any

from django.db.models import Q
from oracle import values
from oracle.rover.models import MODELS, POSTGRESQL, Author, Category, Comment, Item, Special

_TEXT = ("CharField", "TextField", "SlugField")
_LIKE = ("contains", "icontains", "startswith", "istartswith", "endswith", "iendswith")
_ORDER = ("gt", "gte", "lt", "lte")
_WEIGHTS = {Item: 8, Category: 3, Author: 3, Comment: 3, Special: 2}
_MANAGERS = (
    (Category, "items", Item),
    (Category, "children", Category),
    (Item, "authors", Author),
    (Item, "comments", Comment),
    (Item, "liked", Item),
    (Author, "items", Item),
    (Author, "pupils", Author),
)
_XOR = hasattr(Q, "__xor__")


def simple_read(rng: Random) -> str:
    """Return the source of a read with few conditions, which nobody's analysis blows up."""
    model = pick_model(rng)
    return f"{rng.choice(('rows', 'rows', 'count', 'exists'))}({model.__name__}.objects.filter({leaf(rng, model)}))"


def read(rng: Random) -> str:
    """Return the source of a read."""
    model = pick_model(rng)
    if rng.random() < 0.06:
        return _combined(rng, model)
    if rng.random() < 0.06:
        return f"rows({_manager(rng)})"
    made = _filtered(rng, model)
    return rng.choices((_rows, _figures, _single), (6, 3, 2))[0](rng, model, made)


def pick_model(rng: Random) -> Any:
    """Return a model, those with many columns more often."""
    return rng.choices(MODELS, [_WEIGHTS.get(model, 1) for model in MODELS])[0]


def _rows(rng: Random, model: Any, made: str) -> str:
    annotations, (shape, more) = _annotations(rng, model), _shape(rng, model)
    made += annotations + shape
    if rng.random() < 0.35:
        made += f".order_by({_ordering(rng, model)}{more})"
        if rng.random() < 0.4:
            start = rng.choice((0, 0, 1))
            made += f"[{start}:{start + rng.choice((1, 2, 4))}]"
        return f"ranked({made})"
    return f"{rng.choice(('rows', 'rows', 'rows', 'cached'))}({made})"


def _figures(rng: Random, model: Any, made: str) -> str:
    made += _annotations(rng, model) if rng.random() < 0.3 else ""
    if rng.random() < 0.2:
        made += ".distinct()"
    kind = rng.choice(("count", "exists", "total"))
    return f"{kind}({made})" if kind != "total" else f"total({made}, {_aggregate(rng, model)})"


def _single(rng: Random, model: Any, made: str) -> str:
    kind = rng.choice(("one", "one", "first", "last", "bulk"))
    if kind == "one":
        return (
            f"one({model.__name__}.objects, pk={values.key(rng, model)})"
            if rng.random() < 0.5
            else f"one({made})"
        )
    if kind == "bulk":
        return f"bulk({made}, {sorted(values.keys(rng, model, 3))})"
    return f"{kind}({made}.order_by({_ordering(rng, model)}))"


def _filtered(rng: Random, model: Any) -> str:
    made = f"{model.__name__}.objects"
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 3))):
        method = "exclude" if rng.random() < 0.2 else "filter"
        made += f".{method}({condition(rng, model)})"
    if made.endswith("objects") or rng.random() < 0.02:
        made += ".all()"
    if rng.random() < 0.03 and model is Item:
        made += rng.choice(
            ('.extra(where=["rover_item.rank > 1"])', ".filter(pk__in=RawSQL('SELECT %s', (1,)))")
        )
    return made


def condition(rng: Random, model: Any) -> str:
    """Return the arguments of a filter."""
    if rng.random() < 0.65:
        found = [leaf(rng, model) for _ in range(rng.choice((1, 1, 2)))]
        return found[0] if len(found) == 1 else ", ".join(f"Q({item})" for item in found)
    return tree(rng, model, rng.choices((1, 2, 3, 4), (6, 5, 2, 1))[0])


def tree(rng: Random, model: Any, depth: int) -> str:
    """Return a tree of Q objects."""
    if depth == 0 or rng.random() < 0.2:
        arg = leaf(rng, model)
        made = f"Q({arg})"
        return f"~{made}" if rng.random() < 0.2 else made
    sign = rng.choice("&&|||^" if _XOR else "&&|||")
    made = (
        "("
        + f" {sign} ".join(tree(rng, model, depth - 1) for _ in range(rng.choice((2, 2, 3))))
        + ")"
    )
    return f"~{made}" if rng.random() < 0.2 else made


def leaf(rng: Random, model: Any, hops: int | None = None) -> str:
    """Return one condition as a keyword argument, or an Exists()."""
    chance = rng.random()
    if chance < 0.03:
        return _exists(rng, model)
    prefix, at = _path(
        rng, model, rng.choices((0, 1, 2, 3), (60, 22, 11, 7))[0] if hops is None else hops
    )
    if chance < 0.10:
        return _relation(rng, prefix, at)
    if chance < 0.14:
        return _compared(rng, model, prefix, at)
    field = _column(rng, at)
    if field.primary_key:
        return _key(rng, prefix, at)
    return prefix + _lookup(rng, field)


def _path(rng: Random, model: Any, hops: int) -> tuple[str, Any]:
    prefix, at = "", model
    for _ in range(hops):
        relation = rng.choice(
            [field for field in at._meta.get_fields() if field.is_relation and field.related_model]
        )
        prefix, at = f"{prefix}{relation.name}__", relation.related_model
    return prefix, at


def _column(rng: Random, model: Any) -> Any:
    return rng.choice(
        [field for field in model._meta.get_fields() if field.concrete and not field.is_relation]
    )


def _key(rng: Random, prefix: str, model: Any) -> str:
    some = values.keys(rng, model, rng.choice((1, 2, 3)))
    return rng.choice(
        (
            f"{prefix}pk={some[0]}",
            f"{prefix}pk__in={some}",
            f"{prefix}pk__gt={some[0]}",
            f"{prefix}id={str(some[0])!r}",
        )
    )


def _lookup(rng: Random, field: Any) -> str:
    """Return `name__lookup=value` for a column of its own."""
    name, kind = field.name, field.get_internal_type()
    if rng.random() < 0.08:
        return f"{name}__isnull={rng.choice((True, False))}"
    value = values.operand(rng, field)
    if kind in _TEXT:
        return _text_lookup(rng, field, value)
    if kind == "JSONField":
        return _json_lookup(rng, name, value)
    if kind == "ArrayField":
        return rng.choice(
            (
                f"{name}={value}",
                f"{name}__contains=['a']",
                f"{name}__overlap=['b']",
                f"{name}__len=2",
                f"{name}__0='a'",
            )
        )
    if kind in ("DateField", "DateTimeField", "TimeField") and rng.random() < 0.4:
        return _part(rng, name, kind)
    if kind == "BooleanField" or rng.random() < 0.4:
        return f"{name}={value}"
    return _comparison(rng, field, value)


def _text_lookup(rng: Random, field: Any, value: str) -> str:
    chance, name = rng.random(), field.name
    if chance < 0.3:
        return f"{name}={value}"
    if chance < 0.55:
        return f"{name}__iexact={value}"
    if chance < 0.8:
        return f"{name}__{rng.choice(_LIKE)}={value}"
    if chance < 0.84:
        return f"{name}__{rng.choice(('regex', 'iregex'))}={rng.choice(values.PATTERNS)}"
    return _comparison(rng, field, value)


def _json_lookup(rng: Random, name: str, value: str) -> str:
    more = (
        f"{name}={value}",
        f"{name}__a={rng.choice(('1', 'None', '2'))}",
        f"{name}__has_key='a'",
        f"{name}__b__iexact='ALPHA'",
    )
    extra = (f"{name}__contains={{'a': 1}}",) if POSTGRESQL else ()
    return rng.choice(
        (*more, f"{name}__a__isnull=True", f"{name}__a__gt=1", f"{name}__a__b='x'", *extra)
    )


def _part(rng: Random, name: str, kind: str) -> str:
    parts = {"DateField": values.DATE_PARTS, "TimeField": values.TIME_PARTS}
    part = rng.choice(parts.get(kind, (*values.DATE_PARTS, *values.TIME_PARTS, "date", "time")))
    value = rng.choice(values.PARTS[part])
    if part in ("date", "time"):
        return f"{name}__{part}{rng.choice(('', '__gt', '__lte'))}={value}"
    return rng.choice(
        (
            f"{name}__{part}={value}",
            f"{name}__{part}={value}",
            f"{name}__{part}__gte={value}",
            f"{name}__{part}__in=[{value}]",
        )
    )


def _comparison(rng: Random, field: Any, value: str) -> str:
    kind = rng.choice((*_ORDER, "in", "in", "range", "iexact", "contains"))
    if kind in ("iexact", "contains") and field.get_internal_type() != "IntegerField":
        kind = "exact"
    if kind == "in":
        length = rng.choice((0, 1, 2, 3, 9))
        return f"{field.name}__in=[{', '.join(values.operand(rng, field) for _ in range(length))}]"
    if kind == "range":
        return f"{field.name}__range=({value}, {values.operand(rng, field)})"
    return f"{field.name}__{kind}={value}"


def _relation(rng: Random, prefix: str, model: Any) -> str:
    """Compare a relation itself: null or not, a key, keys, or a subquery."""
    relation = rng.choice(
        [field for field in model._meta.get_fields() if field.is_relation and field.related_model]
    )
    other, name = relation.related_model, f"{prefix}{relation.name}"
    kind = rng.choice(("isnull", "exact", "in", "sub", "sub"))
    if kind == "isnull":
        return f"{name}__isnull={rng.choice((True, False))}"
    if kind == "sub":
        inner = f"{other.__name__}.objects.filter({leaf(rng, other, 0)})"
        if rng.random() < 0.3:
            return (
                f"pk__in={model.__name__}.objects.filter({leaf(rng, model)}).values('pk')"
                if not prefix
                else f"{name}__in={inner}"
            )
        return f"{name}__in={inner}"
    if kind == "in":
        return f"{name}__in={values.keys(rng, other, 2)}"
    return f"{name}={rng.choice((values.key(rng, other), None)) if relation.concrete else values.key(rng, other)}"


def _exists(rng: Random, model: Any) -> str:
    child, key = _child(rng, model)
    sign = rng.choice(("", "~"))
    return f"{sign}Exists({child.__name__}.objects.filter(Q({leaf(rng, child, 0)}), {key}=OuterRef('pk')))"


def _child(rng: Random, model: Any) -> tuple[Any, str]:
    """Return a model that points to this one and the name by which it does, else the model itself."""
    found = [field for field in model._meta.get_fields() if field.one_to_many and field.field.name]
    if not found:
        return model, "pk"
    relation = rng.choice(found)
    return relation.related_model, relation.field.name


def _compared(rng: Random, model: Any, prefix: str, at: Any) -> str:
    """Compare two columns."""
    left = _column(rng, at)
    kin = [
        f.name
        for f in model._meta.get_fields()
        if f.concrete and f.get_internal_type() == left.get_internal_type()
    ]
    right = rng.choice(kin) if kin else "pk"
    return f"{prefix}{left.name}{rng.choice(('', '__gt', '__lte')) if kin else '__isnull'}={f'F({right!r})' if kin else True}"


def _annotations(rng: Random, model: Any) -> str:
    if rng.random() > 0.15:
        return ""
    texts = [
        f.name for f in model._meta.get_fields() if f.concrete and f.get_internal_type() in _TEXT
    ]
    many = [f.name for f in model._meta.get_fields() if f.one_to_many or f.many_to_many]
    found = [".annotate(z=Value(1))"]
    if texts:
        text = rng.choice(texts)
        found += [
            f".annotate(low=Lower({text!r})).filter(low={rng.choice(values.TEXT)})",
            f".annotate(full=Coalesce({text!r}, Value('alpha'))).filter(full='alpha')",
            f".annotate(c=Case(When({text}='alpha', then=Value(1)), default=Value(0))).filter(c=1)",
            f".annotate(n=Length({text!r})).filter(n__gt=4)",
        ]
    if many:
        name = rng.choice(many)
        child, key = _child(rng, model)
        found += [
            f".annotate(n=Count({name!r}))",
            f".annotate(n=Count({name!r})).filter(n__gte=1)",
            f".annotate(e=Exists({child.__name__}.objects.filter(Q({leaf(rng, child, 0)}), {key}=OuterRef('pk'))))",
            f".annotate(s=Subquery({child.__name__}.objects.filter({key}=OuterRef('pk')).order_by('pk').values('pk')[:1]))",
            f".annotate(s=Coalesce(Subquery({child.__name__}.objects.filter({key}=OuterRef('pk')).order_by('pk').values('pk')[:1]), 0))",
            f".annotate(r=FilteredRelation({name!r}, condition=Q({name}__pk__gt=3))).filter(r__isnull={rng.choice((True, False))})",
        ]
    return rng.choice(found)


def _shape(rng: Random, model: Any) -> tuple[str, str]:
    """Say which columns and related rows come along, and what an order needs beside the row's key where each has several rows."""
    chance = rng.random()
    columns = [f.name for f in model._meta.get_fields() if f.concrete and not f.is_relation]
    forward = [
        f.name
        for f in model._meta.get_fields()
        if f.is_relation and f.concrete and not f.many_to_many
    ]
    many = [f.name for f in model._meta.get_fields() if f.is_relation and f.name]
    if chance < 0.1:
        return f".values({rng.choice(columns)!r})", ""
    if chance < 0.16:
        prefix, at = _path(rng, model, 1)
        return f".values_list('pk', {prefix + _column(rng, at).name!r})", f", '{prefix}pk'"
    if chance < 0.2:
        return f".values_list({rng.choice(columns)!r}, flat=True).distinct()", ""
    if chance < 0.28:
        return f".{rng.choice(('only', 'defer'))}({rng.choice(columns)!r})", ""
    if chance < 0.36 and forward:
        return f".select_related({rng.choice(forward)!r})", ""
    if chance < 0.42 and many:
        return f".prefetch_related({rng.choice(many)!r})", ""
    return (".distinct()" if chance < 0.46 else ""), ""


def _ordering(rng: Random, model: Any) -> str:
    """Return an order without ties."""
    column = _column(rng, model).name
    forward = [
        f for f in model._meta.get_fields() if f.is_relation and f.concrete and not f.many_to_many
    ]
    if forward and rng.random() < 0.35:
        relation = rng.choice(forward)
        column = f"{relation.name}__{_column(rng, relation.related_model).name}"
    return f"{rng.choice(('', '-')) + column!r}, 'pk'"


def _aggregate(rng: Random, model: Any) -> str:
    numbers = [
        f.name
        for f in model._meta.get_fields()
        if f.concrete and f.get_internal_type() in ("IntegerField", "BigIntegerField")
    ]
    many = [f.name for f in model._meta.get_fields() if f.one_to_many or f.many_to_many]
    found = [
        "Count('pk')",
        *(f"Sum({name!r})" for name in numbers),
        *(f"Max({name!r})" for name in numbers),
    ]
    return rng.choice([*found, *(f"Count({name!r})" for name in many)])


def _combined(rng: Random, model: Any) -> str:
    sign = rng.choice(("union", "intersection", "difference"))
    left, right = (
        f"{model.__name__}.objects.filter({condition(rng, model)}).values_list('pk')"
        for _ in range(2)
    )
    return f"rows({left}.{sign}({right}))"


def _manager(rng: Random) -> str:
    at, name, model = rng.choice(_MANAGERS)
    how = rng.choice(("all()", f"filter({leaf(rng, model)})", f"exclude({leaf(rng, model)})"))
    return f"the({at.__name__}, {values.key(rng, at)}).{name}.{how}"
