"""Objects that are made of stored values equal those that Django makes, in all of their state."""

import datetime as dt
import pickle
import uuid
from decimal import Decimal
from enum import Enum

import django
import pytest
from django.apps import apps
from django.db import connections, models
from django.db.models import Count, F, Value
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover_overrides.cache import fetching, row_values
from rover_overrides.cache.serialization import UnreadableError
from tests.support.query_models.models import Document, Item, Maker, Owner
from tests.support.query_models.models import Tag as Label
from tests.support.write_models.models import Book, Cafe, Loan, OldBook, Place, Shelf, Tag, Token

MODELS = [Maker, Owner, Label, Item, Document, Shelf, Tag, Book, Loan, Place, Cafe, Token]
FIELDS = {
    Item: ["text", "number", "amount", "moment", "span", "uid", "owner", "maker"],
    Book: ["title", "pages", "price", "changed", "extra", "shelf"],
    OldBook: ["title", "price"],
    Loan: ["book", "reader"],
    Cafe: ["name", "seats"],
    Place: ["name"],
    Owner: ["name", "maker"],
    Document: ["name", "file", "data"],
    Token: ["note"],
}
RELATED = {
    Item: ["owner", "maker", "owner__maker"],
    Book: ["shelf"],
    OldBook: ["shelf"],
    Loan: ["book", "book__shelf"],
    Cafe: ["place_ptr"],
    Place: ["cafe"],
    Owner: ["maker"],
}


@pytest.fixture(scope="module", autouse=True)
def rows():
    """Put rows with values of each kind, with and without related rows, into tables."""
    with connections["default"].schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)
    maker = Maker.objects.create(name="m", rank=1)
    owners = [
        Owner.objects.create(name="a", maker=maker),
        Owner.objects.create(name="b"),
        Owner.objects.create(name="c", maker=maker),
    ]
    for number, owner in enumerate([*owners, None, owners[0]]):
        Item.objects.create(
            text=f"t{number}",
            number=10**number,
            amount=Decimal(number) / 4,
            ratio=number / 3,
            flag=bool(number % 2),
            moment=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
            day=dt.date(2020, 1, 1),
            clock=dt.time(1, 2),
            span=dt.timedelta(number),
            uid=uuid.UUID(int=number),
            address="::1",
            owner=owner,
            maker=maker if number % 2 else None,
        )
    shelf = Shelf.objects.create(name="s")
    for number, extra in enumerate([None, {"a": [1, {"b": None}]}, [1, 2]]):
        book = Book.objects.create(
            title=f"b{number}", pages=number, extra=extra, shelf=shelf if number else None
        )
        Loan.objects.create(book=book, reader="r")
    Place.objects.create(name="p")
    Cafe.objects.create(name="c", seats=3)
    Document.objects.create(name="d", file="a.txt", data={"k": 1}, raw=b"raw")
    Token.objects.create(note="n")
    yield
    with connections["default"].schema_editor() as editor:
        for model in reversed(MODELS):
            editor.delete_model(model)


def evaluated(queryset):
    return list(queryset._iterable_class(queryset._chain()))


def through_cache(queryset, found):
    """Return rows as a reader gets them, and None if they are not stored by their values."""
    stored = row_values.pack(queryset, found)
    if stored is None:
        return None
    return fetching.complete_rows(queryset, row_values.unpack(pickle.loads(pickle.dumps(stored))))


def state(value, seen=None):
    """Return all that a row has, with types, the order of its attributes and what is one object."""
    seen = {} if seen is None else seen
    if isinstance(value, models.Model):
        if id(value) in seen:
            return "seen", seen[id(value)]
        seen[id(value)] = len(seen)
        attributes = [
            (name, state(one, seen)) for name, one in vars(value).items() if name != "_state"
        ]
        own = {"fields_cache": {}, **vars(value._state)}
        cache = [(name, state(one, seen)) for name, one in own.pop("fields_cache").items()]
        return (
            type(value),
            next(iter(vars(value))),
            attributes,
            own,
            cache,
            value.get_deferred_fields(),
        )
    if isinstance(value, dict):
        return dict, [(name, state(one, seen)) for name, one in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [state(one, seen) for one in value]
    return type(value), value


@st.composite
def querysets(draw):
    """A queryset of objects or of dicts, with what changes the state of its rows."""
    model = draw(st.sampled_from(list(FIELDS)))
    names = FIELDS[model]
    some = draw(st.lists(st.sampled_from(names), unique=True))
    found = model.objects.order_by(*draw(st.lists(st.sampled_from(["pk", "-pk"]), max_size=1)))
    if draw(st.booleans()):
        found = found.annotate(n=Value(draw(st.sampled_from([1, "x"])), models.TextField()))
    if draw(st.booleans()):
        found = found.annotate(total=Count("pk"), again=F("pk"))
    if draw(st.booleans()):
        found = found.extra(select={"one": "1"})
    shape = draw(st.sampled_from(["objects", "only", "defer", "values"]))
    if shape == "values":
        found = found.values(*some)
    else:
        related = draw(st.lists(st.sampled_from(RELATED.get(model, ["pk"])), unique=True))
        if model in RELATED and related:
            # Django refuses to defer what select_related() follows.
            some = [name for name in some if not any(name in path for path in related)]
            found = found.select_related(*related)
            kept = {path.split("__")[0] for path in related}
            some += kept if shape == "only" else []
        if some and shape != "objects":
            found = getattr(found, shape)(*some)
    low = draw(st.integers(0, 2))
    return found[low : low + draw(st.integers(1, 4))] if draw(st.booleans()) else found


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(queryset=querysets())
def test_rows_from_the_cache_have_the_state_that_django_gives_them(queryset):
    try:
        found = evaluated(queryset)
    except (ValueError, django.core.exceptions.FieldError):  # Django refuses the combination
        return
    read = through_cache(queryset, found)
    if found:
        assert read is not None, "these are all of Django's own"
        assert state(read) == state(evaluated(queryset))


def test_related_rows_are_objects_of_their_own_and_lead_back():
    places = through_cache(
        queryset := Place.objects.select_related("cafe").order_by("pk"), evaluated(queryset)
    )
    assert places[0]._state.fields_cache == {"cafe": None}
    assert places[1].cafe.place_ptr is places[1]
    items = through_cache(
        queryset := Item.objects.select_related("owner").filter(owner__name="a"),
        evaluated(queryset),
    )
    assert items[0].owner == items[1].owner
    assert items[0].owner is not items[1].owner


def test_alias_is_that_of_the_reader():
    queryset = Item.objects.select_related("owner")
    stored = row_values.pack(queryset, evaluated(queryset))
    found = row_values.build(row_values.unpack(stored), "other")
    assert {one._state.db for row in found for one in (row, row.owner) if one} == {"other"}


def test_names_that_are_members_of_an_enumeration_stay_what_they_are():
    class Column(str, Enum):
        TEXT = "text"

    for queryset in (Item.objects.values(Column.TEXT), Item.objects.values("number", Column.TEXT)):
        assert row_values.pack(queryset, evaluated(queryset)) is None


def kept(model, **attributes):
    """Make a model of this name with attributes, which is stored as pickle stores it."""
    return type(
        "Made",
        (model,),
        {"__module__": model.__module__, "Meta": type("Meta", (), {"proxy": True}), **attributes},
    )


def own(name):
    """Make a method that does what Django's, or Python's, does."""

    def method(self, *args):
        return getattr(models.Model, name)(self, *args)

    return method


MAKING = {
    **{
        name: own(name)
        for name in (
            "__init__",
            "__reduce__",
            "__reduce_ex__",
            "__getstate__",
            "__setstate__",
            "__setattr__",
        )
    },
    "__new__": lambda cls, *_: object.__new__(cls),
    "__slots__": ("more",),
    "from_db": classmethod(models.Model.from_db.__func__),
    "title": property(lambda _: "computed", lambda *_: None),
}


@pytest.mark.parametrize("name", MAKING)
def test_models_that_take_part_in_making_their_objects_are_pickled(name):
    before = dict(apps.all_models["write_models"])
    try:
        queryset = kept(Book, **{name: MAKING[name]}).objects.all()
        assert row_values.pack(queryset, evaluated(queryset)) is None
    finally:
        apps.all_models["write_models"].clear()
        apps.all_models["write_models"].update(before)
        apps.clear_cache()


@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_models_with_receivers_are_pickled_and_not_read(signal):
    queryset = Book.objects.all()
    stored = row_values.pack(queryset, evaluated(queryset))
    row_values.unpack(stored)

    def receiver(**_):
        pass

    signal.connect(receiver, sender=Book)
    try:
        assert row_values.pack(queryset, evaluated(queryset)) is None
        with pytest.raises(UnreadableError):
            row_values.unpack(stored)
    finally:
        signal.disconnect(receiver, sender=Book)
    row_values.unpack(stored)


@pytest.mark.parametrize(
    "change",
    [
        lambda row: setattr(row, "noted", 1),
        lambda row: setattr(row, "_prefetched_objects_cache", {}),
        lambda row: setattr(row, "title", Decimal),
        lambda row: setattr(row, "title", type("Title", (str,), {})("x")),
        lambda row: setattr(row, "extra", [{"a": {1}}]),
        lambda row: setattr(row._state, "adding", True),
        lambda row: setattr(row._state, "db", "other"),
        lambda row: setattr(row._state, "noted", 1),
        lambda row: setattr(row._state, "__class__", type("Own", (ModelState,), {})),
        lambda row: row._state.fields_cache.update(shelf=row),
        lambda row: row._state.fields_cache.update(shelf="none"),
        lambda row: vars(row).pop("pages"),
        lambda row: setattr(row, "__class__", OldBook),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("place", [0, 1])
def test_rows_with_anything_else_are_pickled(change, place):
    queryset = Book.objects.order_by("pk")
    found = evaluated(queryset)
    change(found[place])
    assert row_values.pack(queryset, found) is None


def test_rows_that_all_have_an_unknown_attribute_are_pickled():
    queryset = Book.objects.annotate(n=Value(1))
    assert row_values.pack(queryset, evaluated(queryset)) is not None
    for change in (
        lambda row: setattr(row, "noted", 1),
        lambda row: vars(row).update(title=vars(row).pop("title")),
        lambda row: row._state.fields_cache.update(shelf="none"),
    ):
        found = evaluated(queryset)
        for row in found:
            change(row)
        assert row_values.pack(queryset, found) is None


def test_rows_that_nest_too_deeply_are_pickled():
    queryset = Book.objects.order_by("pk")
    found = evaluated(queryset)
    for _ in range(5000):
        found[0].extra = [found[0].extra]
    assert row_values.pack(queryset, found) is None


def test_rows_that_share_an_object_are_pickled():
    queryset = Book.objects.select_related("shelf").exclude(shelf=None)
    found = evaluated(queryset)
    found[0]._state.fields_cache["shelf"] = found[1].shelf
    assert row_values.pack(queryset, found) is None


@pytest.mark.parametrize(
    "description",
    ["write_models.book id gone", "write_models.gone id", "gone.book id"],
)
def test_names_that_nothing_here_has_are_a_miss(description):
    with pytest.raises(UnreadableError):
        row_values.unpack((description, (1, 2)))
    with pytest.raises(UnreadableError):
        row_values.unpack((("write_models.loan id", (("book", 0, description),)), (1, 2, 3)))
