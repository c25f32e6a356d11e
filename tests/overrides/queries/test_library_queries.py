"""Queries with SQL of an application's or a library's own: the tables that it reads are depended on, or the result is not kept."""

import pytest
from django.db import connections
from django.db.models import (
    Aggregate,
    CharField,
    Count,
    Exists,
    F,
    ForeignObject,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    Window,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce, Lower, RowNumber
from django.db.models.lookups import Exact
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.datastructures import BaseTable
from django.db.models.sql.query import Query
from django.test import override_settings

from rover_overrides.conditions.conditions import TRUE, UNCACHED
from rover_overrides.keys.encoding import with_aggregates
from rover_overrides.queries.analysis import dependencies
from tests.support.condition_texts import equal
from tests.support.query_models.models import Item, Maker, Owner

A = Item.objects
SQL = "(SELECT MAX(rank) FROM query_models_maker)"
INTEGER = IntegerField()


class Written(Func):
    def as_sql(self, _compiler, _connection, **_):
        return SQL, []


class Rendered(Func):
    template = f"COALESCE(%(expressions)s, {SQL})"
    output_field = INTEGER


class Counted(Subquery):
    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = INTEGER


class Beside(Subquery):
    template = f"((%(subquery)s) + {SQL})"
    output_field = INTEGER


class Summed(Aggregate):
    function = "SUM"
    template = f"(%(function)s(%(expressions)s) + {SQL})"
    output_field = INTEGER


class Ranked(Exact):
    lookup_name = "ranked"

    def as_sql(self, compiler, connection):
        sql, params = self.process_lhs(compiler, connection)
        return f"{sql} = {SQL}", params


class Lowered(Func):
    function = "LOWER"


IntegerField.register_lookup(Ranked)

READING = {
    "raw": lambda: A.annotate(found=RawSQL(SQL, ())),
    "raw order": lambda: A.order_by(RawSQL(SQL, ())),
    "raw operand": lambda: A.filter(number=RawSQL(SQL, ())),
    "extra select": lambda: A.extra(select={"found": SQL}),
    "extra where": lambda: A.extra(where=[f"number = {SQL}"]),
    "extra table": lambda: A.extra(tables=["query_models_maker"]),
    "function of its own": lambda: A.annotate(found=Written(output_field=INTEGER)),
    "order of its own": lambda: A.order_by(Written(F("number"), output_field=INTEGER)),
    "template of a class": lambda: A.annotate(found=Rendered("number")),
    "template of one": lambda: A.annotate(found=Func(template=SQL, output_field=INTEGER)),
    "function of one": lambda: A.annotate(
        found=Func("number", function=f"COALESCE({SQL}, 1) + ABS", output_field=INTEGER)
    ),
    "joiner of one": lambda: A.annotate(
        found=Func("number", "pk", function="", arg_joiner=f" + {SQL} + ", output_field=INTEGER)
    ),
    "template of a subquery": lambda: A.annotate(
        found=Subquery(A.values("number")[:1], template=f"((%(subquery)s) + {SQL})")
    ),
    "class of a subquery": lambda: A.annotate(found=Beside(A.values("number")[:1])),
    "aggregate": lambda: A.values("text").annotate(found=Summed("number")),
    "aggregate of all": lambda: watched(A.all(), found=Summed("number")),
    "look-up": lambda: A.filter(number__ranked=1),
    "negated look-up": lambda: A.exclude(number__ranked=1),
    "inside": lambda: A.filter(Exists(A.filter(pk=OuterRef("pk"), number__ranked=1))),
    "window": lambda: A.annotate(found=Window(RowNumber(), order_by=Written(output_field=INTEGER))),
    "having": lambda: A.values("text").annotate(n=Count("pk")).filter(n__gt=RawSQL(SQL, ())),
    "union": lambda: A.values("number").union(A.filter(number__ranked=1).values("number")),
}


def watched(queryset, **expressions):
    resolved = {
        alias: each.resolve_expression(queryset.query, summarize=True)
        for alias, each in expressions.items()
    }
    return with_aggregates(queryset, resolved)


@pytest.mark.parametrize("case", READING)
def test_tables_that_own_sql_names_are_depended_on(case):
    found = dependencies(READING[case]())
    assert found["query_models_maker"] == [TRUE], found
    assert UNCACHED not in found["query_models_item"]


@pytest.mark.parametrize("case", READING)
def test_result_of_own_sql_that_names_an_unknown_relation_is_not_kept(case, monkeypatch):
    for cls in (Rendered, Beside, Summed):
        monkeypatch.setattr(cls, "template", cls.template.replace("query_models_maker", "a_view"))
    monkeypatch.setitem(globals(), "SQL", SQL.replace("query_models_maker", "a_view"))
    queryset = A.extra(tables=["a_view"]) if case == "extra table" else READING[case]()
    assert dependencies(queryset) == {"query_models_item": [UNCACHED]}


PRECISE = {
    "function of Django's": lambda: A.annotate(found=Lower("text")),
    "cast": lambda: A.annotate(found=Coalesce(Cast("number", CharField()), Value(""))),
    "own class, known function": lambda: A.annotate(found=Lowered("text")),
    "known function": lambda: A.annotate(found=Func("text", function="UPPER")),
    "known template": lambda: A.annotate(
        found=Func("text", template="(%(expressions)s || 'x')", output_field=CharField())
    ),
}


@pytest.mark.parametrize("case", PRECISE)
def test_own_words_without_tables_leave_the_conditions(case):
    assert dependencies(PRECISE[case]().filter(number=1)) == {
        "query_models_item": [equal("number")]
    }


def test_template_around_a_query_leaves_the_conditions_of_that():
    found = dependencies(A.annotate(found=Counted(Maker.objects.filter(rank=1))).filter(number=1))
    assert found == {"query_models_item": [equal("number")], "query_models_maker": [equal("rank")]}


def test_function_that_nobody_knows_is_not_kept_unless_the_site_vouches_for_it():
    queryset = A.annotate(found=Func("text", function="my_function")).filter(number=1)
    assert dependencies(queryset) == {"query_models_item": [UNCACHED]}
    with override_settings(CACHEOPS_ROVER_FIXED_FUNCTIONS=("my_function",)):
        assert dependencies(queryset) == {"query_models_item": [equal("number")]}


def test_value_that_says_now_is_not_kept():
    assert dependencies(A.annotate(found=Func(Value("now"), function="date"))) == {
        "query_models_item": [UNCACHED]
    }


# Queries of libraries


class TreeCompiler(SQLCompiler):
    """Puts a table into a common table expression, as libraries for trees do."""

    relation = "query_models_maker"

    def as_sql(self, *args, **more):
        sql, params = super().as_sql(*args, **more)
        recursion = f"SELECT id FROM {self.relation} UNION ALL SELECT __tree.id FROM __tree JOIN query_models_maker T ON T.id = __tree.id"
        return f"WITH RECURSIVE __tree(id) AS ({recursion}) SELECT * FROM ({sql}) q, __tree", params


class ViewCompiler(TreeCompiler):
    relation = "a_view"


class RunningCompiler(SQLCompiler):
    def execute_sql(self, *args, **more):
        return super().execute_sql(*args, **more)


class TreeQuery(Query):
    compiler = TreeCompiler

    def get_compiler(self, using=None, connection=None, elide_empty=True):
        return self.compiler(self, connection or connections[using], using, elide_empty)


class ViewQuery(TreeQuery):
    compiler = ViewCompiler


class RunningQuery(TreeQuery):
    compiler = RunningCompiler


class BrokenQuery(TreeQuery):
    def compiler(self, *_):
        raise NotImplementedError


class OwnTable(BaseTable):
    def as_sql(self, _compiler, _connection):
        return "query_models_item, query_models_owner", []


def of(query, queryset=None):
    """Return a queryset as a library makes it: with a query of another class."""
    found = A.all() if queryset is None else queryset
    found.query.__class__ = query
    return found


def joined():
    found = A.all()
    found.query.get_initial_alias()
    found.query.alias_map["query_models_item"].__class__ = OwnTable
    return found


def replaced(table):
    """Return a queryset that reads a table in place of the model's."""
    found = A.filter(number=1)
    found.query.alias_map = {"query_models_item": BaseTable(table, "query_models_item")}
    return found


WHOLE = {
    "query": (lambda: of(TreeQuery).filter(number=1), {"query_models_item", "query_models_maker"}),
    "given": (lambda: QuerySet(Item, TreeQuery(Item)), {"query_models_item", "query_models_maker"}),
    "inside": (
        lambda: A.filter(number=1, owner__in=of(TreeQuery, Owner.objects.all())),
        {"query_models_item", "query_models_owner", "query_models_maker"},
    ),
    "aggregate": (
        lambda: watched(of(TreeQuery), found=Summed("number")),
        {"query_models_item", "query_models_maker"},
    ),
    "empty": (lambda: of(TreeQuery).filter(number__in=[]), {"query_models_item"}),
    "join": (joined, {"query_models_item", "query_models_owner"}),
}


@pytest.mark.parametrize("case", WHOLE)
def test_query_of_a_library_depends_on_each_table_that_its_sql_names(case):
    queryset, tables = WHOLE[case]
    assert dependencies(queryset()) == {table: [TRUE] for table in tables}


@pytest.mark.parametrize("query", [ViewQuery, RunningQuery, BrokenQuery])
def test_query_of_a_library_that_is_not_understood_is_not_kept(query):
    assert dependencies(of(query).filter(number=1)) == {"query_models_item": [UNCACHED]}


def test_table_in_place_of_the_models_own_is_one_of_a_model():
    assert dependencies(replaced("query_models_maker"))["query_models_maker"] != [UNCACHED]
    assert dependencies(replaced("a_view")) == {"query_models_item": [UNCACHED]}


def test_query_with_a_compiler_of_its_own_depends_on_what_that_names():
    queryset = A.filter(number=1)
    query = queryset.query
    query.get_compiler = lambda using=None, connection=None, elide_empty=True: TreeCompiler(
        query, connection or connections[using], using, elide_empty
    )
    assert dependencies(queryset) == {"query_models_item": [TRUE], "query_models_maker": [TRUE]}


def test_reading_the_sql_of_a_query_changes_nothing_in_it():
    queryset = (
        of(TreeQuery)
        .filter(Exists(Maker.objects.order_by("rank")))
        .annotate(found=Subquery(A.order_by("day").values("pk")[:1]))
    )
    before = str(queryset.query), queryset.query.alias_refcount.copy()
    dependencies(queryset)
    assert (str(queryset.query), queryset.query.alias_refcount) == before


class Restricted(ForeignObject):
    """A relation with a condition of its own, which asks another table."""

    requires_unique_target = False

    def get_extra_restriction(self, alias, _related_alias):
        rank = self.related_model._meta.get_field("rank")
        return Exact(
            rank.get_col(alias), Subquery(Maker.objects.order_by("-rank").values("rank")[:1])
        )


def test_table_that_the_condition_of_a_relation_asks_is_depended_on():
    queryset = A.filter(owner__name="a")
    (join,) = [
        each
        for each in queryset.query.alias_map.values()
        if each.table_name == "query_models_owner"
    ]
    join.join_field = Restricted(Owner, None, ["owner"], ["id"])
    join.join_field.model = Item
    assert "query_models_maker" in dependencies(queryset)


def test_query_with_q_objects_and_plain_values_is_understood():
    assert dependencies(A.filter(Q(number=1) & ~Q(pk=2)))["query_models_item"] != [UNCACHED]
