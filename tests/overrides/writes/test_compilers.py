"""Which changes each kind of write records, on SQLite and PostgreSQL."""

import datetime as dt
from decimal import Decimal

import django
import pytest
from cacheops import no_invalidation
from django.db import IntegrityError, connections
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now, Upper
from django.test.utils import CaptureQueriesContext, override_settings

from tests.support.write_models.models import (
    Book,
    Cafe,
    Loan,
    OldBook,
    Place,
    Plain,
    Shelf,
    Tag,
    Token,
)
from tests.support.write_recorder import COARSE, WriteRecorder, empty_tables, some_columns

if django.VERSION >= (5, 0):
    from tests.support.write_models.models import Computed


@pytest.fixture
def seen(alias, monkeypatch):
    """Give the changes of the writes of a test, in a database with two books."""
    recorder = WriteRecorder().install(monkeypatch)
    with override_settings(CACHEOPS_INSIDEOUT=True):
        with no_invalidation:
            empty_tables(alias)
            shelf = Shelf(pk=1, name="Left")
            shelf.save(using=alias)
            Book(pk=1, title="One", pages=1, price="1.50", shelf=shelf).save(using=alias)
            Book(pk=2, title="Two", pages=2, shelf=shelf).save(using=alias)
            Tag(pk=1, slug="red").save(using=alias)
        yield recorder
    assert not connections[alias].in_atomic_block


def short(changes, *names):
    """Return the changes with some columns of their rows."""
    return [
        (table, some_columns(old, *names), some_columns(new, *names)) for table, old, new in changes
    ]


def queries_of(alias, call):
    """Return the kinds of the queries that a call runs, but for those around a transaction."""
    with CaptureQueriesContext(connections[alias]) as queries:
        call()
    kinds = [query["sql"].split()[0] for query in queries.captured_queries]
    return [kind for kind in kinds if kind not in {"BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"}]


def test_save_records_row_before_and_after(alias, seen):
    book = Book.objects.using(alias).get(pk=1)
    book.title = "Uno"
    assert queries_of(alias, book.save) == ["UPDATE"]
    [(table, old, new)] = seen.take_changes()
    assert table == "book"
    assert old == {
        "id": 1,
        "title": "One",
        "pages": 1,
        "price": Decimal("1.50"),
        "changed": old["changed"],
        "extra": None,
        "on_shelf": 1,
    }
    assert new == {**old, "title": "Uno", "changed": book.changed}
    assert book.changed > old["changed"]


def test_save_that_changes_nothing_records_nothing(alias, seen):
    Shelf.objects.using(alias).get(pk=1).save()
    assert seen.take_changes() == []


def test_insert_records_new_row(alias, seen):
    tag = Tag(slug="blue", hits=3)
    assert queries_of(alias, lambda: tag.save(using=alias)) == ["INSERT"]
    assert seen.take_changes() == [("tag", None, {"id": tag.pk, "slug": "blue", "hits": 3})]


def test_insert_of_expression_leaves_column_unknown(alias, seen):
    Tag.objects.using(alias).create(pk=7, slug=Upper(Value("blue")))
    [(_, old, new)] = seen.take_changes()
    assert old is None
    assert new == (
        {"id": 7, "hits": 0} if django.VERSION < (6, 0) else {"id": 7, "hits": 0, "slug": "BLUE"}
    )


def test_save_over_existing_key_records_replaced_row(alias, seen):
    assert queries_of(alias, lambda: Shelf(pk=1, name="Right").save(using=alias)) == ["UPDATE"]
    assert seen.take_changes() == [("shelf", {"id": 1, "name": "Left"}, {"id": 1, "name": "Right"})]


def test_save_of_new_key_shows_the_queries_of_django(alias, seen):
    assert queries_of(alias, lambda: Shelf(pk=9, name="Top").save(using=alias)) == [
        "UPDATE",
        "INSERT",
    ]
    assert seen.take_changes() == [("shelf", None, {"id": 9, "name": "Top"})]


def test_forced_insert_of_existing_key_records_nothing(alias, seen):
    with pytest.raises(IntegrityError):
        Shelf(pk=1, name="Right").save(using=alias, force_insert=True)
    assert seen.take_changes() == []


def test_values_are_recorded_as_they_are_stored(alias, seen):
    Book(pk=3, title=5, pages="7", price=2.5).save(using=alias, force_insert=True)
    [(_, _, new)] = seen.take_changes()
    assert some_columns(new, "title", "pages", "price") == {
        "title": "5",
        "pages": 7,
        "price": Decimal("2.5"),
    }
    assert type(new["title"]) is str
    assert type(new["pages"]) is int


def test_value_that_is_rounded_is_unknown(alias, seen):
    Book.objects.using(alias).filter(pk=1).update(price=Decimal("1.005"))
    [(_, old, new)] = seen.take_changes()
    assert old["price"] == Decimal("1.50")
    assert "price" not in new


def test_changed_json_is_unknown_and_kept_json_is_not(alias, seen):
    Book.objects.using(alias).filter(pk=1).update(extra={"a": 1})
    [(_, _, new)] = seen.take_changes()
    assert "extra" not in new
    book = Book.objects.using(alias).get(pk=1)
    book.save()
    [(_, old, new)] = seen.take_changes()
    assert old["extra"] == new["extra"] == {"a": 1}
    Book.objects.using(alias).filter(pk=1).update(extra={"a": True})
    assert "extra" not in seen.take_changes()[0][2], "True is not 1 in a document"


def test_update_records_each_row(alias, seen):
    rows = []
    assert queries_of(
        alias, lambda: rows.append(Book.objects.using(alias).filter(pages__gt=0).update(pages=9))
    ) == ["UPDATE"]
    assert rows == [2]
    assert sorted(short(seen.take_changes(), "id", "pages"), key=str) == [
        ("book", {"id": 1, "pages": 1}, {"id": 1, "pages": 9}),
        ("book", {"id": 2, "pages": 2}, {"id": 2, "pages": 9}),
    ]


def test_update_of_no_row_records_nothing(alias, seen):
    assert Book.objects.using(alias).filter(pages=99).update(pages=9) == 0
    assert Book.objects.using(alias).none().update(pages=9) == 0
    assert seen.take_changes() == []


def test_update_by_expression_is_read_again(alias, seen):
    Book.objects.using(alias).update(pages=F("pages") * 10, title=Upper("title"))
    assert sorted(short(seen.take_changes(), "pages", "title"), key=str) == [
        ("book", {"pages": 1, "title": "One"}, {"pages": 10, "title": "ONE"}),
        ("book", {"pages": 2, "title": "Two"}, {"pages": 20, "title": "TWO"}),
    ]


def test_update_through_relation_records_own_rows(alias, seen):
    Shelf(pk=2, name="Right").save(using=alias)
    Book.objects.using(alias).filter(pk=2).update(shelf=2)
    seen.take_changes()
    Book.objects.using(alias).filter(shelf__name="Right").update(pages=5)
    assert short(seen.take_changes(), "id", "pages") == [
        ("book", {"id": 2, "pages": 2}, {"id": 2, "pages": 5})
    ]


def test_update_of_foreign_key_by_object(alias, seen):
    shelf = Shelf.objects.using(alias).create(pk=2, name="Right")
    seen.take_changes()
    Book.objects.using(alias).filter(pk=2).update(shelf=shelf)
    assert short(seen.take_changes(), "id", "on_shelf") == [
        ("book", {"id": 2, "on_shelf": 1}, {"id": 2, "on_shelf": 2})
    ]


def test_update_of_key_by_value_records_both(alias, seen):
    Tag.objects.using(alias).filter(pk=1).update(id=5)
    assert short(seen.take_changes(), "id") == [("tag", {"id": 1}, {"id": 5})]


def test_update_of_key_by_expression_is_coarse(alias, seen):
    Tag.objects.using(alias).filter(pk=1).update(id=F("id") + 5)
    assert seen.take_changes() == [("tag", *COARSE)]


def test_save_with_expression_leaves_column_unknown(alias, seen):
    book = Book.objects.using(alias).get(pk=1)
    book.pages = F("pages") + 1
    book.save()
    [(_, old, new)] = seen.take_changes()
    assert old["pages"] == 1
    assert "pages" not in new
    assert new["title"] == "One"


def test_save_of_some_fields_and_of_deferred_ones(alias, seen):
    book = Book.objects.using(alias).only("title").get(pk=1)
    book.title = "Uno"
    book.save()
    book.save(update_fields=["title"])
    assert short(seen.take_changes(), "title", "pages", "on_shelf")[:1] == [
        (
            "book",
            {"title": "One", "pages": 1, "on_shelf": 1},
            {"title": "Uno", "pages": 1, "on_shelf": 1},
        )
    ]


def test_bulk_update(alias, seen):
    books = list(Book.objects.using(alias).order_by("pk"))
    for book in books:
        book.pages += 10
    Book.objects.using(alias).bulk_update(books, ["pages"])
    assert sorted(short(seen.take_changes(), "pages"), key=str) == [
        ("book", {"pages": 1}, {"pages": 11}),
        ("book", {"pages": 2}, {"pages": 12}),
    ]


def test_bulk_create(alias, seen):
    Tag.objects.using(alias).bulk_create([Tag(slug="a"), Tag(slug="b", hits=2)])
    changes = seen.take_changes()
    assert short(changes, "slug", "hits") == [
        ("tag", None, {"slug": "a", "hits": 0}),
        ("tag", None, {"slug": "b", "hits": 2}),
    ]
    returned = connections[alias].features.can_return_rows_from_bulk_insert
    assert [new.get("id") for _, _, new in changes] == [
        tag.pk if returned else None
        for tag in Tag.objects.using(alias).filter(pk__gt=1).order_by("slug")
    ]


def test_bulk_create_that_ignores_conflicts(alias, seen):
    Tag.objects.using(alias).bulk_create([Tag(slug="red"), Tag(slug="b")], ignore_conflicts=True)
    assert short(seen.take_changes(), "slug", "hits") == [
        ("tag", None, {"slug": "red", "hits": 0}),
        ("tag", None, {"slug": "b", "hits": 0}),
    ]


def upsert(alias, tags, unique=("slug",)):
    Tag.objects.using(alias).bulk_create(
        tags, update_conflicts=True, unique_fields=list(unique), update_fields=["hits"]
    )


@pytest.mark.skipif(django.VERSION < (4, 1), reason="update_conflicts came with Django 4.1")
def test_bulk_create_that_updates_conflicts(alias, seen):
    upsert(alias, [Tag(slug="red", hits=5), Tag(slug="b", hits=6)])
    changes = sorted(seen.take_changes(), key=lambda change: change[2]["hits"])
    new = Tag.objects.using(alias).get(slug="b").pk
    assert changes == [
        ("tag", {"id": 1, "slug": "red", "hits": 0}, {"id": 1, "slug": "red", "hits": 5}),
        # Somebody may have inserted it just before.
        ("tag", {"id": new, "slug": "b"}, {"id": new, "slug": "b", "hits": 6}),
    ]


@pytest.mark.skipif(django.VERSION < (4, 1), reason="update_conflicts came with Django 4.1")
def test_bulk_create_that_updates_the_unique_field_is_coarse(alias, seen):
    Tag.objects.using(alias).bulk_create(
        [Tag(slug="red", hits=3)],
        update_conflicts=True,
        unique_fields=["slug"],
        update_fields=["slug", "hits"],
    )
    assert seen.take_changes() == [("tag", *COARSE)]


def test_get_or_create_and_update_or_create(alias, seen):
    Tag.objects.using(alias).get_or_create(slug="red")
    assert seen.take_changes() == []
    Tag.objects.using(alias).get_or_create(slug="b")
    assert short(seen.take_changes(), "slug") == [("tag", None, {"slug": "b"})]
    Tag.objects.using(alias).update_or_create(slug="red", defaults={"hits": 4})
    assert short(seen.take_changes(), "hits") == [("tag", {"hits": 0}, {"hits": 4})]


def test_many_to_many(alias, seen):
    book, tag = Book.objects.using(alias).get(pk=1), Tag.objects.using(alias).get(pk=1)
    link = {"book_id": 1, "tag_id": 1}
    book.tags.add(tag)
    assert short(seen.take_changes(), *link) == [("book_tags", None, link)]
    book.tags.set([])
    assert short(seen.take_changes(), *link) == [("book_tags", link, None)]
    tag.book_set.set([book])
    assert short(seen.take_changes(), *link) == [("book_tags", None, link)]
    book.tags.clear()
    assert short(seen.take_changes(), *link) == [("book_tags", link, None)]
    book.tags.clear()
    assert seen.take_changes() == []


def test_delete_of_object_cascades(alias, seen):
    Loan.objects.using(alias).create(pk=1, book_id=1, reader="Ann")
    seen.take_changes()
    Book.objects.using(alias).get(pk=1).delete()
    assert short(seen.take_changes(), "id") == [
        ("loan", {"id": 1}, None),
        ("book", {"id": 1}, None),
    ]


def test_delete_sets_null_and_records_whole_rows(alias, seen):
    Shelf.objects.using(alias).all().delete()
    changes = seen.take_changes()
    assert sorted(short(changes, "id", "title", "on_shelf"), key=str) == [
        (
            "book",
            {"id": 1, "title": "One", "on_shelf": 1},
            {"id": 1, "title": "One", "on_shelf": None},
        ),
        (
            "book",
            {"id": 2, "title": "Two", "on_shelf": 1},
            {"id": 2, "title": "Two", "on_shelf": None},
        ),
        ("shelf", {"id": 1}, None),
    ]


def test_fast_and_raw_deletes(alias, seen):
    Tag.objects.using(alias).create(pk=2, slug="b")
    seen.take_changes()
    Tag.objects.using(alias).filter(slug="b").delete()
    assert short(seen.take_changes(), "id", "slug") == [("tag", {"id": 2, "slug": "b"}, None)]
    assert Tag.objects.using(alias).filter(slug="b").delete()[0] == 0
    Tag.objects.using(alias).all()._raw_delete(alias)
    assert short(seen.take_changes(), "id", "slug") == [("tag", {"id": 1, "slug": "red"}, None)]


def test_delete_through_relation(alias, seen):
    with no_invalidation:
        Loan.objects.using(alias).create(pk=1, book_id=1, reader="Ann")
        Loan.objects.using(alias).create(pk=2, book_id=2, reader="Bob")
    Loan.objects.using(alias).filter(book__title="Two").delete()
    assert short(seen.take_changes(), "id", "reader") == [
        ("loan", {"id": 2, "reader": "Bob"}, None)
    ]


def test_inherited_model_changes_each_table(alias, seen):
    cafe = Cafe(pk=1, name="Corner", seats=4)
    cafe.save(using=alias)
    assert seen.take_changes() == [
        ("place", None, {"id": 1, "name": "Corner"}),
        ("cafe", None, {"place_ptr_id": 1, "seats": 4}),
    ]
    cafe.name = "Center"
    cafe.save()
    assert seen.take_changes() == [
        ("place", {"id": 1, "name": "Corner"}, {"id": 1, "name": "Center"})
    ]
    Cafe.objects.using(alias).filter(name="Center").update(seats=5, name="Middle")
    assert sorted(seen.take_changes(), key=str) == [
        ("cafe", {"place_ptr_id": 1, "seats": 4}, {"place_ptr_id": 1, "seats": 5}),
        ("place", {"id": 1, "name": "Center"}, {"id": 1, "name": "Middle"}),
    ]
    Cafe.objects.using(alias).filter(seats=5).update(name="Edge")
    assert seen.take_changes() == [
        ("place", {"id": 1, "name": "Middle"}, {"id": 1, "name": "Edge"})
    ]
    Place.objects.using(alias).get(pk=1).delete()
    assert seen.take_changes() == [
        ("cafe", {"place_ptr_id": 1, "seats": 5}, None),
        ("place", {"id": 1, "name": "Edge"}, None),
    ]


def test_proxy_changes_the_table_of_its_model(alias, seen):
    OldBook.objects.using(alias).filter(pk=1).update(pages=5)
    assert short(seen.take_changes(), "id", "pages") == [
        ("book", {"id": 1, "pages": 1}, {"id": 1, "pages": 5})
    ]
    OldBook.objects.using(alias).filter(pk=1).delete()
    assert short(seen.take_changes(), "id", "pages") == [("book", {"id": 1, "pages": 5}, None)]


def test_key_of_uuid(alias, seen):
    token = Token(note="a")
    token.save(using=alias)
    token.note = "b"
    token.save()
    assert seen.take_changes() == [
        ("token", None, {"id": token.pk, "note": "a"}),
        ("token", {"id": token.pk, "note": "a"}, {"id": token.pk, "note": "b"}),
    ]


def test_model_without_profile_is_coarse_and_not_read(alias, seen):
    assert queries_of(alias, lambda: Plain(name="a").save(using=alias)) == ["INSERT"]
    assert queries_of(alias, lambda: Plain.objects.using(alias).update(name="b")) == ["UPDATE"]
    assert queries_of(
        alias, lambda: Plain.objects.using(alias).filter(name="b").update(name="b")
    ) == ["UPDATE"]
    assert Plain.objects.using(alias).filter(name="z").update(name="b") == 0
    assert seen.take_changes() == [("plain", *COARSE)] * 3
    Plain.objects.using(alias).all().delete()
    assert seen.take_changes() == [("plain", *COARSE)]


def test_more_rows_than_the_limit_are_coarse(alias, seen, monkeypatch):
    from rover_overrides.rows import rows

    monkeypatch.setattr(rows, "MAX_STATEMENT_ROWS", 1)
    Book.objects.using(alias).update(pages=5)
    assert seen.take_changes() == [("book", *COARSE)]
    Book.objects.using(alias).filter(pk=1).update(pages=6)
    assert short(seen.take_changes(), "pages") == [("book", {"pages": 5}, {"pages": 6})]
    Tag.objects.using(alias).bulk_create([Tag(slug="x"), Tag(slug="y")])
    assert seen.take_changes() == [("tag", *COARSE)]
    Book.objects.using(alias).all()._raw_delete(alias)
    assert seen.take_changes() == [("book", *COARSE)]


@pytest.mark.parametrize("patch", ["serial-saves", "track-all-writes"])
def test_switched_off_is_coarse(alias, seen, patch):
    with override_settings(CACHEOPS_ROVER_OFF=(patch,)):
        Book.objects.using(alias).filter(pk=1).update(pages=5)
        Book.objects.using(alias).filter(pk=77).update(pages=5)
        assert seen.take_changes() == [("book", *COARSE)]
        Tag.objects.using(alias).filter(pk=1)._raw_delete(alias)
        assert seen.take_changes() == [("tag", *COARSE)]
        Shelf.objects.using(alias).create(pk=2, name="x")
        assert seen.take_changes() == (
            [("shelf", *COARSE)]
            if patch == "track-all-writes"
            else [("shelf", None, {"id": 2, "name": "x"})]
        )


@pytest.mark.parametrize("settings", [{"CACHEOPS_ENABLED": False}, {"CACHEOPS_INSIDEOUT": False}])
def test_disabled_records_nothing(alias, seen, settings):
    with override_settings(**settings):
        assert queries_of(alias, lambda: Book.objects.using(alias).update(pages=5)) == ["UPDATE"]
    assert seen.take_changes() == []


def test_no_invalidation_records_nothing(alias, seen):
    with no_invalidation:
        Book.objects.using(alias).update(pages=5)
        Shelf.objects.using(alias).create(pk=2, name="x")
    assert seen.take_changes() == []


@pytest.mark.skipif(django.VERSION < (5, 0), reason="computed columns came with Django 5.0")
def test_computed_columns(alias, seen):
    computed = Computed.objects.using(alias).create(name="a")
    [(_, _, new)] = seen.take_changes()
    assert new == {
        "id": computed.pk,
        "name": "a",
        **({"loud": "A"} if "loud" in new else {}),
        **({"kind": "plain"} if "kind" in new else {}),
    }
    Computed.objects.using(alias).update(name="b")
    assert short(seen.take_changes(), "name", "loud", "kind") == [
        (
            "computed",
            {"name": "a", "loud": "A", "kind": "plain"},
            {"name": "b", "loud": "B", "kind": "plain"},
        )
    ]
    computed = Computed.objects.using(alias).get()
    computed.name = "c"
    computed.save()
    [(_, _, new)] = seen.take_changes()
    assert some_columns(new, "name", "kind", "loud") == {"name": "c", "kind": "plain"}


@pytest.mark.skipif(django.VERSION < (6, 1), reason="database cascades came with Django 6.1")
def test_database_cascades_change_their_tables(alias, seen):
    from tests.support.write_models.models import Chair, Lamp, Room, Wing

    wing = Wing.objects.using(alias).create(name="East")
    row = {"id": wing.pk, "name": "East"}
    chair = Chair.objects.using(alias).create(room=Room.objects.using(alias).create(wing=wing))
    Lamp.objects.using(alias).create(chair=chair)
    seen.take_changes()
    Wing.objects.using(alias).filter(name="West").delete()
    assert seen.take_changes() == []
    wing.delete()
    assert Lamp.objects.using(alias).get().chair_id is None
    assert sorted(seen.take_changes(), key=str) == [
        ("chair", *COARSE),
        ("lamp", *COARSE),
        ("room", *COARSE),
        ("wing", row, None),
    ]


def test_conditional_expression(alias, seen):
    Book.objects.using(alias).update(title=Case(When(pages=1, then=Value("I")), default=F("title")))
    assert short(seen.take_changes(), "title") == [("book", {"title": "One"}, {"title": "I"})]


def test_time_of_the_database(alias, seen):
    Book.objects.using(alias).filter(pk=1).update(changed=Now())
    [(_, old, new)] = seen.take_changes()
    assert isinstance(new["changed"], dt.datetime)
    assert new["changed"] != old["changed"]


def test_condition_with_subquery_and_with_or(alias, seen):
    shelves = Shelf.objects.using(alias).filter(name="Left")
    Book.objects.using(alias).filter(Q(shelf__in=shelves) & (Q(pages=1) | Q(pages=7))).update(
        pages=3
    )
    assert short(seen.take_changes(), "id", "pages") == [
        ("book", {"id": 1, "pages": 1}, {"id": 1, "pages": 3})
    ]
