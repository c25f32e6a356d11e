"""Two queries share a result only if their SQL and their parameters are the same, types and
boundaries included.

The key of a query hashed its SQL with the parameters substituted unquoted, so name__in=['Smith',
'John'] and name__in=['Smith, John'] shared a result, as did 1 and '1'. A filter value could even
spell the rest of another query's WHERE and poison its key. With filters written by clients that is
a security hole.

The key now takes a digest of the SQL and of the parameters, each spelled so that it can be read
back, and of what decides which Python objects come out of the rows: output fields and converters,
the names of values(), related objects, the iterable class and what it may read of its queryset, the
fetch mode, the database. Classes are named by module and qualified name. A query of which something
cannot be spelled or named is not cached, it never raises and never shares a key. Aliases share
results where their settings name the same database, or where the site's own say db_agnostic.

Compiling a query changes it: a union that was counted could not be listed any more. A copy is
compiled for the key. What cannot be compiled, and what is no valid aggregate, is left to Django,
which says so.

The expressions of aggregate() were told apart by their text, in which a subquery is an address in
memory. Such aggregates got each other's results as soon as an address was used again.

The key of a call, of cached_as, @cached or a view, spelled arguments by their text, so that
Decimal(1) and "1" shared a result, as did two functions that one def made. It spells them as
parameters are spelled, and functions with what they closed over.

Imports that become unused stay: no upstream line is touched for tidiness.

Drop-When: upstream's keys name SQL, typed parameters and all that decides which objects come out,
  and compiling them changes no query
"""

import pytest
from django.db import connection, models
from django.db.models import F, Max, Sum, Value
from probe_project.models import Article


def titles(**conditions):
    return list(Article.objects.filter(**conditions).order_by("pk").values_list("title", flat=True))


def annotated(value, output_field):
    """Read a constant that only the parameters of the query hold."""
    queryset = Article.objects.filter(pk=1).annotate(
        constant=Value(value, output_field=output_field)
    )
    return queryset.values_list("constant", flat=True).get()


class LookAlike:
    """A parameter that the driver adapts, and whose text does not tell its value."""

    def __init__(self, value):
        self.value = value

    def __str__(self):
        return "<parameter>"

    __repr__ = __str__

    def __conform__(self, protocol):
        return self.value


class Unspeakable(LookAlike):
    """One that cannot even be pickled."""

    def __init__(self, value):
        super().__init__(value)
        self.dumps = lambda: value


def test_same_query_is_a_hit(probe):
    assert probe.fill(lambda: titles(title__in=["Alpha", "Gamma"])) == ["Alpha", "Gamma"]


def test_list_and_its_joined_text_do_not_share_a_result(probe):
    Article.objects.create(pk=4, title="Alpha, Gamma")
    assert probe.fill(lambda: titles(title__in=["Alpha, Gamma"])) == ["Alpha, Gamma"]
    assert titles(title__in=["Alpha", "Gamma"]) == ["Alpha", "Gamma"]


def test_count_of_list_and_of_its_joined_text_do_not_share_a_result(probe):
    assert probe.fill(lambda: Article.objects.filter(title__in=["Alpha, Gamma"]).count()) == 0
    assert Article.objects.filter(title__in=["Alpha", "Gamma"]).count() == 2


class Largest(Max):
    """An application's own aggregate, which says less of itself than it is."""

    def __repr__(self):
        return "Largest"


def test_aggregates_that_look_alike_do_not_share_a_result(probe):
    Article.objects.create(pk=4, title="Delta", pages=7)
    assert probe.fill(lambda: Article.objects.aggregate(most=Largest("pages"))) == {"most": 7}
    assert Article.objects.aggregate(most=Largest("pk")) == {"most": 4}


def test_same_aggregate_is_a_hit(probe):
    assert probe.fill(lambda: Article.objects.aggregate(total=Sum(F("pages") * 2))) == {"total": 12}


def test_value_that_imitates_sql_does_not_poison_an_honest_query(probe):
    Article.objects.create(pk=4, title="Delta", slug="1", subtitle="red")
    imitation = '1 AND "probe_project_article"."subtitle" = red'
    poison = lambda: list(Article.objects.filter(title="Delta").filter(slug=imitation))
    assert probe.fill(poison) == []
    honest = Article.objects.filter(title="Delta").filter(slug="1").filter(subtitle="red")
    assert [article.pk for article in honest] == [4]


def test_number_and_its_text_do_not_share_a_result(probe):
    assert probe.fill(lambda: annotated("1", models.CharField())) == "1"
    number = annotated(1, models.IntegerField())
    assert number == 1, "expected the number 1, not %r" % (number,)


def test_none_and_its_text_do_not_share_a_result(probe):
    assert probe.fill(lambda: annotated("None", models.CharField())) == "None"
    assert annotated(None, models.CharField()) is None


def test_bytes_and_their_text_do_not_share_a_result(probe):
    assert probe.fill(lambda: annotated("b'x'", models.Field())) == "b'x'"
    assert bytes(annotated(b"x", models.BinaryField())) == b"x"


if connection.vendor == "sqlite":  # whose driver takes an object's own word for what it is

    @pytest.mark.parametrize("parameter", [LookAlike, Unspeakable])
    def test_objects_that_look_alike_do_not_share_a_result(probe, parameter):
        assert annotated(parameter("one"), models.Field()) == "one"
        assert annotated(parameter("two"), models.Field()) == "two"

    def test_equal_objects_share_a_result(probe):
        assert probe.fill(lambda: annotated(LookAlike("one"), models.Field())) == "one"


def test_text_that_cannot_be_encoded_reaches_the_database(probe):
    def refused():
        try:
            return titles(title__gt="\ud800")
        except UnicodeEncodeError as error:
            return error.object

    assert refused() == "\ud800", "it is for the database to refuse the text"
