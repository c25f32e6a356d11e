"""Keys by structure: those of compiling, and in any doubt compiled."""

import contextlib
import warnings
from unittest import mock

from django.db import connection, connections, models
from django.db.models import F, Q
from django.db.models.lookups import Exact
from django.test import override_settings
from django.utils import timezone, translation
from probe_project.models import Article, Section

from rover_overrides.core.bounded_table import BoundedTable
from rover_overrides.hooks import shape_keys
from rover_overrides.keys import query_keys
from rover_overrides.keys.encoding import short_name
from rover_overrides.queries.dependencies import as_count_sample
from rover_overrides.shapes import checking, structural_keys


def is_by_shape(queryset):
    """Return whether the key comes from the structure; it is the one of compiling either way."""
    for is_count in (False, True):
        sample = as_count_sample(queryset) if is_count else queryset
        for _ in range(2):  # the first query of a shape is compiled
            found = structural_keys.digest_by_shape(queryset, is_count=is_count)
            compiled = query_keys.result_key(sample)
            assert found is None or "q:" + short_name(found[0]) == compiled, queryset.query
    return found is not None


def keys(*querysets):
    return {shape_keys.result_key(queryset, is_read=False) for queryset in querysets}


def case_known_queries_are_not_compiled():
    articles = Article.objects
    for queryset in (
        articles.all(),
        articles.filter(pk=1),
        articles.filter(Q(pages=1) | ~Q(title="a"), draft=True).exclude(price=1),
        articles.filter(title__icontains="50%", slug__startswith="a_").order_by("-pages", "pk"),
        articles.filter(pages__in=[3, 1, 3, None], published__gte=timezone.now()),
        articles.filter(pages__range=(1, 5), subtitle__isnull=False)[3:8],
        articles.filter(section__name="a").select_related("section"),
        articles.filter(section=Section(pk=4)).only("title"),
        articles.defer("body").filter(section__in=[1, 2]).distinct(),
        articles.values("title", "section__name"),
        articles.values_list("pk", flat=True).filter(section_id=None),
    ):
        assert is_by_shape(queryset), queryset.query


def case_values_that_change_the_sql_have_keys_of_their_own():
    articles = Article.objects
    assert len(keys(articles.filter(draft=True), articles.filter(draft=False))) == 2
    assert len(keys(*(articles.filter(pages__in=[1] * n + [2]) for n in (1, 2, 3)))) == 1
    assert len(keys(*(articles.filter(pages__in=list(range(n))) for n in (1, 2, 3)))) == 3
    assert len(keys(*(articles.all()[:n] for n in (1, 2, 3)))) == 3
    assert len(keys(articles.filter(subtitle=""), articles.filter(subtitle=None))) == 2
    for queryset in (
        articles.filter(pages=2**70),
        articles.filter(pages__gt=-(2**70)),
        articles.filter(pages__in=[]),
        articles.filter(pages__in=[None]),
    ):
        assert not is_by_shape(queryset), queryset.query


def case_what_is_not_known_is_compiled():
    class Later(Exact):
        lookup_name = "later"

        def as_sql(self, compiler, connection):
            sql, params = super().as_sql(compiler, connection)
            return f"{sql} AND {len(params)} < 2", params

    class Loud(models.CharField):
        def get_db_prep_value(self, value, connection, prepared=False):
            return value.upper()

    class Shout(models.Model):
        text = Loud(max_length=9)

        class Meta:
            app_label = "probe_project"

    plain = Article.objects.filter(title="a")
    assert is_by_shape(plain)
    models.CharField.register_lookup(Later)
    for queryset in (
        Article.objects.filter(title__later="a"),
        Article.objects.filter(title=F("slug")),
        Article.objects.annotate(n=models.Count("tags")),
        Article.objects.filter(tags__name="a").exclude(tags__name="b"),
        Article.objects.extra(where=["1 = 1"]),
        Article.objects.filter(published__year=2026),
        Article.objects.order_by("?"),
        Article.objects.order_by(F("pages").desc()),
        Article.objects.filter(pk__in=Section.objects.values("pk")),
        Article.objects.filter(pages=1).union(Article.objects.filter(pages=2)),
        Article.objects.filter(title=type("Text", (str,), {})("a")),
        Shout.objects.filter(text="a"),
        Shout.objects.all(),
    ):
        assert not is_by_shape(queryset), queryset.query


def case_an_attribute_that_is_not_known_is_compiled():
    for change in (
        lambda query: setattr(query, "hint", "index"),
        lambda query: setattr(query.where, "hint", "index"),
        lambda query: setattr(query.where.children[0], "hint", "index"),
        lambda query: setattr(query.where.children[0], "as_sql", lambda *_: ("1 = 1", [])),
        lambda query: setattr(query.alias_map["probe_project_article"], "hint", "index"),
        lambda query: setattr(query, "compiler", "SQLCompiler"),
        lambda query: setattr(query, "group_by", ()),  # groups, which None does not
        lambda query: setattr(query, "model", Section),
    ):
        queryset = Article.objects.filter(title="a")
        assert is_by_shape(queryset)
        change(queryset.query)
        assert structural_keys.digest_by_shape(queryset) is None


def case_a_model_that_changes_has_keys_of_its_own():
    for queryset, model in (
        (Article.objects.all(), Article),
        (Article.objects.select_related("section"), Section),
        (Article.objects.order_by("section__name"), Section),
        (Article.objects.filter(section__name="a"), Section),
    ):
        options = model._meta
        for name, value in (
            ("db_table", "other"),
            ("concrete_fields", options.concrete_fields[:1]),
        ):
            assert is_by_shape(queryset.all())
            before = keys(queryset.all())
            with mock.patch.object(options, name, value):
                is_by_shape(queryset.all())
            assert is_by_shape(queryset.all())
            assert keys(queryset.all()) == before


def quoted_by(first, last):
    return lambda name: first + name.strip("[]`<>") + last


def replaced_operations(operations):
    class Operations(type(operations)):
        def quote_name(self, name):
            return f"[{name}]"

    made = Operations(operations.connection)
    made.__dict__.update(operations.__dict__)
    return made


def case_a_changed_connection_has_shapes_of_its_own():
    queryset = Article.objects.filter(title="a").order_by("pages")
    (key,) = keys(queryset)
    with mock.patch.object(connection.ops, "quote_name", lambda name: f"[{name.strip(chr(34))}]"):
        is_by_shape(queryset)
        assert keys(queryset) != {key}
    assert keys(queryset) == {key}
    for marks in ("[]", "``", "<>") * 2:
        quoting = quoted_by(*marks)  # functions that may get one address in turn
        with mock.patch.object(connection.ops, "quote_name", quoting):
            is_by_shape(queryset)
        del quoting
        is_by_shape(queryset)
    replaced = replaced_operations(connection.ops)
    with mock.patch.dict(connections["default"].__dict__, ops=replaced):
        assert not is_by_shape(queryset)
    with mock.patch.object(connection.features, "supports_order_by_nulls_modifier", False):
        is_by_shape(queryset)


def case_an_order_of_the_model_that_changes_has_keys_of_its_own():
    plain, related = Article.objects.filter(title="a"), Article.objects.order_by("section")
    assert is_by_shape(plain)
    assert is_by_shape(Article.objects.order_by("section_id", "-section__name"))
    assert not is_by_shape(related)
    before = keys(plain)
    with mock.patch.object(Article._meta, "ordering", ["pages"]):
        assert is_by_shape(plain)
        assert keys(plain) != before
    with mock.patch.object(Article._meta, "ordering", ["section"]):
        assert not is_by_shape(plain)
    with mock.patch.object(Article._meta, "ordering", [F("pages").desc()]):
        assert not is_by_shape(plain)
        assert is_by_shape(plain.order_by("pages"))
    assert keys(plain) == before


def case_an_order_by_the_key_of_a_related_model_is_compiled():
    class Cover(models.Model):
        article = models.OneToOneField(Article, models.CASCADE, primary_key=True)

        class Meta:
            app_label = "probe_project"

    class Print(models.Model):
        cover = models.ForeignKey(Cover, models.CASCADE)

        class Meta:
            app_label = "probe_project"

    assert is_by_shape(Cover.objects.order_by("-pk"))
    assert is_by_shape(Print.objects.order_by("cover__article_id"))
    with mock.patch.object(Article._meta, "ordering", ["title"]):
        assert is_by_shape(Cover.objects.order_by("-pk"))
        # Django orders by the title.
        assert not is_by_shape(Print.objects.order_by("-cover__pk"))
    assert not is_by_shape(Print.objects.order_by("-cover__pk"))


def case_a_model_with_code_of_its_own_has_keys_by_language():
    class Greeting(Section):
        class Meta:
            proxy = True
            app_label = "probe_project"

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.language = translation.get_language()

    found = set()
    for language in ("en", "fr"):
        with translation.override(language):
            is_by_shape(Greeting.objects.filter(name="a"))
            is_by_shape(Article.objects.select_related("section").filter(title="a"))
            found |= keys(Greeting.objects.filter(name="a"))
    assert len(found) == 2


def case_the_first_difference_turns_the_fast_way_off():
    queryset = Article.objects.filter(title="a")
    assert is_by_shape(queryset)
    found = structural_keys.digest_by_shape(queryset)[1]
    found.sql += " "
    with (
        override_settings(CACHEOPS_ROVER_CHECK_KEYS=1),
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always")
        assert keys(queryset) == {query_keys.result_key(queryset)}
        assert checking.tally.different == 1
        before = checking.tally.by_shape
        assert keys(queryset) == {query_keys.result_key(queryset)}
        assert checking.tally.by_shape == before
    assert "differs from the key by its SQL" in str(said[0].message)
    found.sql = found.sql[:-1]
    checking.tally.different = 0
    assert len(said) == 1


def case_switch_turns_the_fast_way_off():
    queryset = Article.objects.filter(title="a")
    before = checking.tally.by_shape
    with override_settings(CACHEOPS_ROVER_OFF=("structural-keys",)):
        assert keys(queryset) == {query_keys.result_key(queryset)}
        assert checking.tally.by_shape == before
    keys(queryset)
    assert checking.tally.by_shape == before + 1


def case_table_of_shapes_stays_in_its_limit():
    table = BoundedTable(200_000)
    with mock.patch.object(structural_keys, "_table", table):
        for number in range(1, 1000):
            structural_keys.digest_by_shape(Article.objects.filter(title="a")[:number])
            assert table.used <= 200_000
        assert 10 < len(table) < 999
        assert is_by_shape(Article.objects.filter(title="a")[:1])


def case_numbers_are_cached_as_before():
    for number in (Article.objects.filter(pages=1).count, Article.objects.filter(pages=1).exists):
        with contextlib.ExitStack() as stack:
            first = number()
            stack.enter_context(mock.patch.object(connection, "cursor", side_effect=AssertionError))
            assert number() == first
