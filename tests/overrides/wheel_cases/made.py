"""Every reader gets the objects that Django would make for it, from the cache too; what has a name for a key is cached."""

# ruff: noqa: B023, PLW0108 - what a loop or a line makes is called in that round of it

import threading
from datetime import UTC, datetime
from decimal import Decimal

import django
from cacheops import cached, cached_as
from django.apps.registry import Apps
from django.core.exceptions import FieldError
from django.db import connection, connections, models
from django.db.models import (
    Case,
    Count,
    ExpressionWrapper,
    F,
    FloatField,
    Func,
    IntegerField,
    Max,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce, TruncDay
from django.db.models.query import ModelIterable
from django.test.utils import CaptureQueriesContext, override_settings
from probe_project.models import Article, Section, Tag


def count_sql(call):
    """Return how many statements a call runs."""
    with CaptureQueriesContext(connection) as log:
        call()
    return len(log)


def same(call, expected):
    """Assert what a call returns: from the database, and twice more, from the cache where it is cached."""
    for _ in range(3):
        assert call() == expected, (call(), expected)


def hit(call):
    """Assert that a result is cached."""
    call()
    assert count_sql(call) == 0


def raises(kind, call):
    """Assert that a call raises, each time."""
    for _ in range(2):
        try:
            call()
        except kind:
            continue
        raise AssertionError(f"no {kind.__name__}")


def section():
    """Put two articles into a section, and return it."""
    found = Section.objects.create(name="old")
    Article.objects.filter(pk__lte=2).update(section=found)
    return Section.objects.get(pk=found.pk)


def case_rows_of_a_related_manager_have_their_readers_object():
    first = section()
    same(lambda: [row.section is first for row in first.articles.all()], [True, True])
    Section.objects.update(name="new")
    second = Section.objects.get(pk=first.pk)
    same(lambda: [row.section is second for row in second.articles.all()], [True, True])
    hit(lambda: list(second.articles.all()))
    second.name = "never saved"
    list(second.articles.filter(pages__gt=0))
    same(
        lambda: [
            row.section.name for row in Article.objects.filter(section=second.pk, pages__gt=0)
        ],
        ["new"] * 2,
    )
    hit(lambda: list(Article.objects.filter(section=second.pk, pages__gt=0)))
    second.lock = threading.Lock()
    hit(lambda: list(second.articles.filter(pages__gt=1)))


def case_rows_of_a_related_manager_are_as_djangos_own():
    parent = section()
    parent.name = "never saved"
    ways = {
        "all": lambda: parent.articles.all(),
        "first": lambda: [parent.articles.first()],
        "get": lambda: [parent.articles.get(pk=1)],
        "slice": lambda: parent.articles.order_by("pk")[0:2:2],
        "in_bulk": lambda: parent.articles.in_bulk([1, 2]).values(),
        "select_related": lambda: parent.articles.select_related("section"),
        "prefetch_related": lambda: parent.articles.prefetch_related("section"),
        "only": lambda: parent.articles.only("title", "section"),
        "deferred key": lambda: parent.articles.only("title"),
        "either": lambda: parent.articles.all() | Article.objects.filter(pk=3),
        "plain": lambda: Article.objects.filter(section=parent),
    }

    def seen(make):
        return [(row.pk, row.section is parent, row.section and row.section.name) for row in make()]

    for name, make in ways.items():
        with override_settings(CACHEOPS_ENABLED=False):
            expected = seen(make)
        assert [seen(make) for _ in range(3)] == [expected] * 3, name


def case_proxy_of_a_parent_is_not_read_by_its_model():
    class Chapter(Section):
        class Meta:
            proxy = True
            app_label = "probe_project"

    parent = section()
    for kind in (Chapter, Section):
        same(
            lambda: [type(row.section) for row in kind.objects.get(pk=parent.pk).articles.all()],
            [kind, kind],
        )
        hit(lambda: list(kind.objects.get(pk=parent.pk).articles.all()))


class Plus(IntegerField):
    """A field whose state no migration needs."""

    def __init__(self, *args, plus=0, **kwargs):
        super().__init__(*args, **kwargs)
        self.plus = plus

    def from_db_value(self, value, expression, connection):
        return value + self.plus


class Prefixed(Func):
    """An expression that converts in a way of its own."""

    template = "%(expressions)s"

    def __init__(self, *args, prefix="", **kwargs):
        super().__init__(*args, **kwargs)
        self.prefix = prefix

    def get_db_converters(self, connection):
        return [lambda value, expression, connection: f"{self.prefix}{value}"]


def case_equal_sql_gives_each_reader_values_of_its_output_field():
    for field, expected in (
        (IntegerField(), 2),
        (FloatField(), 2.5),
        (models.DecimalField(), Decimal("2.5")),
    ):

        def half(field=field):
            return ExpressionWrapper(F("pages") + Value(0.5), output_field=field)

        def typed(value):
            return value, type(value)

        right = expected, type(expected)
        same(lambda: typed(Article.objects.annotate(n=half()).get(pk=2).n), right)
        same(
            lambda: typed(Article.objects.annotate(n=half()).values_list("n", flat=True).get(pk=2)),
            right,
        )
        same(
            lambda: typed(Article.objects.annotate(n=Case(When(pk=2, then=half()))).get(pk=2).n),
            right,
        )
        same(lambda: typed(Article.objects.filter(pk=2).aggregate(n=Max(half()))["n"]), right)
        hit(lambda: Article.objects.annotate(n=half()).get(pk=2))
        hit(lambda: Article.objects.filter(pk=2).aggregate(n=Max(half())))


def case_converters_count_with_their_state():
    for plus in (1, 100):
        same(
            lambda: (
                Article.objects.annotate(n=ExpressionWrapper(F("pages"), Plus(plus=plus)))
                .get(pk=2)
                .n
            ),
            2 + plus,
        )
        same(
            lambda: Article.objects.filter(pk=2).aggregate(
                n=Max("pages", output_field=Plus(plus=plus))
            )["n"],
            2 + plus,
        )
        hit(
            lambda: Article.objects.annotate(n=ExpressionWrapper(F("pages"), Plus(plus=plus))).get(
                pk=2
            )
        )
    for prefix in "ab":
        same(
            lambda: Article.objects.annotate(n=Prefixed("pages", prefix=prefix)).get(pk=2).n,
            f"{prefix}2",
        )
        hit(lambda: Article.objects.annotate(n=Prefixed("pages", prefix=prefix)).get(pk=2))


def case_converters_that_no_name_gives_are_not_cached():
    for number in (1, 2):

        class Local(Plus):
            def from_db_value(self, value, expression, connection, number=number):
                return number

        same(
            lambda: Article.objects.annotate(n=ExpressionWrapper(F("pages"), Local())).get(pk=2).n,
            number,
        )
        same(
            lambda: (
                Article.objects.annotate(n=ExpressionWrapper(F("pages"), Plus(plus=3))).get(pk=2).n
            ),
            5,
        )


def case_annotations_are_cached():
    hit(lambda: list(Section.objects.annotate(n=Count("articles"))))
    hit(lambda: list(Article.objects.annotate(day=TruncDay("published"))))
    hit(lambda: list(Article.objects.values("section__name").annotate(n=Sum("pages"))))
    hit(lambda: list(Article.objects.annotate(n=Value(1))))


def case_names_of_values_are_those_that_were_asked_for():
    parent = section()
    for name in ("section", "section_id", "section__id", "section__pk"):
        same(lambda: list(Article.objects.filter(pk=1).values(name)), [{name: parent.pk}])
        hit(lambda: list(Article.objects.filter(pk=1).values(name)))
    for name in ("pk", "id"):
        same(lambda: list(Article.objects.filter(pk=1).values(name)), [{name: 1}])
    for name in ("section", "section_id"):
        same(lambda: Article.objects.values_list(name, named=True).get(pk=1)._fields, (name,))
    hit(lambda: Article.objects.values_list("section", named=True).get(pk=1))


class Noted(ModelIterable):
    """Reads an attribute of its queryset."""

    def __iter__(self):
        for row in super().__iter__():
            row.note = getattr(self.queryset, "note", None)
            yield row


class Tagged(ModelIterable):
    """Has queries of its own."""

    def __iter__(self):
        for row in super().__iter__():
            row.names = [tag.name for tag in Tag.objects.filter(pk=1)]
            yield row


class Raw(ModelIterable):
    """Has queries of its own of a table that no model has."""

    def __iter__(self):
        for row in super().__iter__():
            with connection.cursor() as cursor:
                cursor.execute("SELECT name FROM elsewhere")
                row.names = [name for (name,) in cursor]
            yield row


def made_by(iterable, **attributes):
    """Return articles as an iterable makes them."""
    queryset = Article.objects.order_by("pk")
    queryset._iterable_class = iterable
    queryset.__dict__.update(attributes)
    return queryset


def case_attributes_that_an_iterable_may_read_count():
    for note in ("a", "b", ("a", 1)):
        same(lambda: {row.note for row in made_by(Noted, note=note)}, {note})
        hit(lambda: list(made_by(Noted, note=note)))
    for number in (1, 2):
        same(lambda: {row.note() for row in made_by(Noted, note=lambda: number)}, {number})
    same(lambda: {row.note for row in made_by(Noted)}, {None})


def case_what_only_djangos_iterable_could_read_does_not_count():
    class Local(models.QuerySet):
        pass

    hit(lambda: list(made_by(ModelIterable, lock=threading.Lock())))
    hit(lambda: list(Local(Article).all()))


def case_iterables_of_equal_names_that_are_not_imported_are_kept_apart():
    for number in (1, 2):

        class Local(ModelIterable):
            def __iter__(self, number=number):
                for row in super().__iter__():
                    row.note = number
                    yield row

        same(lambda: {row.note for row in made_by(Local)}, {number})


def case_tables_that_an_iterable_reads_are_depended_on():
    def names():
        return made_by(Tagged)[0].names

    for name in ("first", "second"):
        Tag.objects.update_or_create(pk=1, defaults={"name": name})
        same(names, [name])
        hit(names)


def case_tables_that_nobody_can_name_are_not_cached():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE elsewhere (name text)")
        cursor.execute("INSERT INTO elsewhere VALUES ('old')")
        same(lambda: made_by(Raw)[0].names, ["old"])
        cursor.execute("UPDATE elsewhere SET name = 'new'")
        same(lambda: made_by(Raw)[0].names, ["new"])
        cursor.execute("DROP TABLE elsewhere")


def case_tables_that_a_model_reads_are_depended_on():
    original = Article.from_db.__func__

    def from_db(cls, *args, **kwargs):
        row = original(cls, *args, **kwargs)
        row.names = list(Tag.objects.values_list("name", flat=True))
        return row

    Article.from_db = classmethod(from_db)
    try:
        for name in ("first", "second"):
            Tag.objects.all().delete()
            Tag.objects.create(name=name)
            same(lambda: Article.objects.get(pk=1).names, [name])
            hit(lambda: Article.objects.get(pk=1))
    finally:
        Article.from_db = classmethod(original)


def case_custom_iterable_of_a_related_manager_has_its_readers_object():
    parent = section()
    parent.name = "never saved"

    def names(queryset):
        queryset._iterable_class = Noted
        return [row.section.name for row in queryset]

    same(lambda: names(parent.articles.all()), ["never saved"] * 2)
    same(lambda: names(Article.objects.filter(section=parent.pk)), ["old"] * 2)


def case_rows_of_an_iterable_are_counted_from_the_cache():
    def rows():
        queryset = parent.articles.all()
        queryset._iterable_class = Noted
        return queryset

    parent = section()
    same(lambda: rows().count(), 2)
    for call in (
        lambda: rows().count(),
        lambda: rows().exists(),
        lambda: rows().aggregate(Max("pages")),
    ):
        hit(call)


def case_model_of_no_installed_application_is_not_stored():
    class Migration(models.Model):
        name = models.CharField(max_length=100)

        class Meta:
            apps = Apps()
            app_label = "elsewhere"
            db_table = Tag._meta.db_table

    Tag.objects.create(name="a")
    same(lambda: [type(row) for row in Migration.objects.filter(name="a")], [Migration])
    same(lambda: Migration.objects.filter(name="a").count(), 1)
    same(lambda: [type(row) for row in Tag.objects.filter(name="a")], [Tag])
    hit(lambda: list(Tag.objects.all()))


def case_fetch_modes_are_kept_apart():
    if django.VERSION < (6, 1):
        return
    section()

    def rows(mode):
        return list(Article.objects.fetch_mode(mode).filter(pk__lte=2))

    for mode in (models.FETCH_RAISE, models.FETCH_ONE, models.FETCH_PEERS):
        same(lambda: {row._state.fetch_mode for row in rows(mode)}, {mode})
        hit(lambda: rows(mode))
    found = rows(models.FETCH_PEERS)
    assert count_sql(lambda: [row.section.name for row in found]) <= 1


def case_aggregates_may_name_each_other():
    same(
        lambda: Article.objects.filter(pk=2).aggregate(sum=Sum("pages"), most=Coalesce("sum", 0)),
        {"sum": 2, "most": 2},
    )
    same(
        lambda: list(Article.objects.aggregate(Max("pages"), sum=Sum("pages"))),
        ["sum", "pages__max"],
    )
    same(lambda: Article.objects.none().aggregate(n=Coalesce(Sum("pages"), 7)), {"n": 7})
    same(lambda: Article.objects.none().aggregate(n=Coalesce(Sum("pages"), 8)), {"n": 8})
    same(lambda: Article.objects.aggregate(), {})
    hit(lambda: Article.objects.aggregate(sum=Sum("pages"), most=Coalesce("sum", 0)))
    hit(lambda: Section.objects.aggregate(sum=Sum("articles__pages")))


def case_what_is_no_aggregate_is_refused_by_django():
    raises(TypeError, lambda: Article.objects.aggregate(Sum("pages") / Count("pages")))
    raises(TypeError, lambda: Article.objects.aggregate(n=F("pages")))
    raises(TypeError, lambda: Article.objects.aggregate("pages"))
    raises(FieldError, lambda: Article.objects.aggregate(n=Sum("nothing")))
    raises(FieldError, lambda: Article.objects.aggregate(most=Coalesce("sum", 0), sum=Sum("pages")))


def case_union_that_was_counted_is_listed():
    def union():
        return Article.objects.filter(pk=1).union(Article.objects.filter(pk=3)).order_by("pk")

    def after(look, queryset):
        look(queryset)
        return list(queryset)

    for look in (lambda queryset: queryset.count(), lambda queryset: queryset.exists()):
        same(lambda: after(look, union().values_list("title", flat=True)), ["Alpha", "Gamma"])
        same(lambda: after(look, union().values("title")), [{"title": "Alpha"}, {"title": "Gamma"}])
    same(lambda: union().values_list("title", named=False).count(), 2)
    hit(lambda: union().count())
    hit(lambda: list(union().values("title")))


def case_extra_table_with_an_order_is_cached():
    tag = Tag.objects.create(name="a")

    def titles():
        rows = Article.objects.extra(
            tables=["probe_project_tag"], where=["probe_project_tag.id = %s"], params=[tag.pk]
        )
        return list(rows.order_by("pk").values_list("title", flat=True))

    same(titles, ["Alpha", "Beta", "Gamma"])
    hit(titles)


def case_order_by_a_query_that_refers_to_the_row_is_cached():
    of_section = (
        Section.objects.filter(pk=models.OuterRef("section")).order_by("name").values("name")[:1]
    )
    hit(lambda: list(Article.objects.order_by(models.Subquery(of_section))))


def case_what_cannot_be_compiled_raises_when_it_is_read():
    class Broken(Func):
        def as_sql(self, *args, **kwargs):
            raise ZeroDivisionError

    rows = Article.objects.order_by(Broken("pages"))
    raises(ZeroDivisionError, lambda: list(rows.all()))
    same(lambda: rows.count(), Article.objects.count())


def case_releases_do_not_share_results_but_invalidations():
    def title():
        return Article.objects.get(pk=1).title

    for salt in ("one", "two"):
        with override_settings(CACHEOPS_ROVER_KEY_SALT=salt):
            assert count_sql(title) == 1
            hit(title)
    Article.objects.filter(pk=1).update(title="new")
    for salt in ("one", "two"):
        with override_settings(CACHEOPS_ROVER_KEY_SALT=salt):
            same(title, "new")


def case_result_that_cannot_be_pickled_is_returned():
    same(lambda: cached_as(Article)(threading.Lock)().locked(), False)


def case_calls_share_a_result_where_function_and_arguments_are_the_same():
    for decorate in (cached(timeout=60), cached_as(Article)):

        def made_by(held):
            return decorate(lambda argument: (held, type(argument).__name__, argument))

        for held in (1, "1"):
            for argument in ("1", Decimal(1), 1, ["1"], ("1",)):
                same(lambda: made_by(held)(argument), (held, type(argument).__name__, argument))
    calls = []
    counted = cached(timeout=60)(lambda argument: calls.append(argument))
    for _ in range(2):
        counted(Decimal(1))
    assert calls == [Decimal(1)]


def case_calls_with_objects_share_a_result_by_key_and_not_before_they_have_one():
    read = cached(timeout=60)(lambda row: row.title)
    same(lambda: read(Article.objects.get(pk=1)), Article.objects.get(pk=1).title)
    for title in ("new", "newer"):
        same(lambda: read(Article(title=title)), title)


def case_times_are_of_the_zone_of_the_connection():
    Article.objects.filter(pk=1).update(published=datetime(2026, 1, 2, 3, tzinfo=UTC))
    read = lambda: Article.objects.get(pk=1).published.tzname()
    same(read, "UTC")
    connection.settings_dict["TIME_ZONE"] = "Asia/Tokyo"
    for name in ("timezone", "timezone_name"):
        connections["default"].__dict__.pop(name, None)
    same(read, "JST")
