"""Which tables a piece of SQL names where it may read them, and which pieces nobody understands."""

import pytest
from django.test import override_settings

from rover_overrides.introspection import schema
from rover_overrides.introspection.table_names import (
    SqlAnalysisError,
    find_model_table,
    tables_in_sql,
)

ITEM, MAKER, OWNER = "query_models_item", "query_models_maker", "query_models_owner"

READ = {
    "number > 1 AND text LIKE 'a%%'": set(),
    "lower(text) = upper(%s) OR number IN (1, 2)": set(),
    "text = 'SELECT 1 FROM nowhere'": set(),
    "text = 'it''s FROM nowhere' -- FROM nowhere\n": set(),
    "text = $q$ FROM nowhere $q$ /* FROM nowhere */": set(),
    "SELECT 1": set(),
    "SELECT MAX(rank) FROM query_models_maker": {MAKER},
    "SELECT MAX(rank) FROM Query_Models_MAKER": {MAKER},
    'SELECT MAX(m.rank) FROM "query_models_maker" AS m': {MAKER},
    "SELECT MAX(rank) FROM `query_models_maker`": {MAKER},
    "SELECT 1 FROM public.query_models_maker, main.query_models_item i": {MAKER, ITEM},
    "SELECT 1 FROM query_models_item i JOIN query_models_maker m ON (m.id = i.made_by), query_models_owner o WHERE o.id = 1, 2": {
        ITEM,
        MAKER,
        OWNER,
    },
    "SELECT 1 FROM (query_models_item i LEFT JOIN query_models_maker m ON 1 = 1)": {ITEM, MAKER},
    "SELECT 1 FROM (SELECT 1 FROM query_models_item) x, query_models_maker": {ITEM, MAKER},
    "SELECT 1 FROM ONLY query_models_item, LATERAL (SELECT 1 FROM query_models_maker) y": {
        ITEM,
        MAKER,
    },
    "EXISTS(TABLE query_models_item)": {ITEM},
    "id IN query_models_item": {ITEM},
    "WITH x AS (SELECT 1 FROM query_models_item) SELECT 1 FROM x": {ITEM},
    "WITH RECURSIVE x(a, b) AS (SELECT 1 FROM query_models_item UNION ALL SELECT 1 FROM x), y AS MATERIALIZED (SELECT 1 FROM x)"
    " SELECT 1 FROM y JOIN query_models_maker ON 1 = 1": {ITEM, MAKER},
    "WITH RECURSIVE x AS ((SELECT 1 FROM query_models_item) UNION ALL (SELECT 1 FROM x)) SELECT 1 FROM x": {
        ITEM
    },
    "SELECT 1 FROM ((SELECT 1 FROM query_models_item) UNION (SELECT 1 FROM query_models_maker)) x, query_models_owner": {
        ITEM,
        MAKER,
        OWNER,
    },
    "WITH query_models_item AS (SELECT 1 FROM query_models_item) SELECT 1 FROM query_models_item": {
        ITEM
    },
    "EXTRACT(YEAR FROM day) = 1 AND SUBSTRING(text FROM 1 FOR 2) = TRIM(BOTH 'x' FROM text)": set(),
    "number IS NOT DISTINCT FROM ratio AND POSITION('a' IN text) > 0": set(),
    "CAST(amount AS numeric(8, 2)) BETWEEN 1 AND 2": set(),
    "COUNT(*) FILTER (WHERE number > 1) OVER (PARTITION BY text ORDER BY id)": set(),
    "SELECT g FROM generate_series(1, 3) AS g(a)": set(),
    "strftime('%%Y', day) = '2024' AND date(day) > '2024-01-01'": set(),
    "array_agg(x)::text[] || ARRAY[1, 2] @> '{}'": set(),
}


@pytest.mark.parametrize("sql", READ)
def test_tables_that_sql_names(sql):
    assert tables_in_sql(sql) == READ[sql]


UNREAD = [
    "SELECT 1 FROM a_view",
    "SELECT 1 FROM archive.query_models_item",
    'SELECT 1 FROM "Query_Models_Item"',
    "SELECT 1 FROM query_models_item, a_view",
    "SELECT 1 FROM query_models_item NATURAL JOIN a_view",
    "SELECT 1 FROM %s",
    "SELECT 1 FROM 'query_models_item'",
    "SELECT 1 FROM [query_models_item]",
    "id IN a_view",
    "(TABLE a_view)",
    "WITH x AS (SELECT 1 FROM a_view) SELECT 1 FROM x",
    "SELECT 1 FROM x",
    "my_function(1)",
    "SELECT 1 FROM my_rows(1)",
    "public.my_function(1)",
    "now() > day",
    "random() > 0.5",
    "current_setting('x') = text",
    "day > CURRENT_DATE",
    "date('now') = day",
    "date() = day",
    "strftime('%%Y') = '2024'",
    "age(moment) > '1 day'",
    "moment > 'today'::timestamp",
    "WITH x AS (DELETE FROM query_models_item RETURNING 1) SELECT 1 FROM x",
    "text = 'open",
    'text = "open',
    "1) FROM (2",
    "1)",
]


@pytest.mark.parametrize("sql", UNREAD)
def test_sql_that_nobody_understands(sql):
    with pytest.raises(SqlAnalysisError):
        tables_in_sql(sql)


def test_parameter_that_names_a_moment_has_no_fixed_answer():
    assert tables_in_sql("date(%s) > day", ["2024-01-01"]) == set()
    with pytest.raises(SqlAnalysisError):
        tables_in_sql("date(%s) > day", [" NOW"])


def test_function_that_the_site_vouches_for_is_fixed():
    with override_settings(CACHEOPS_ROVER_FIXED_FUNCTIONS=("My_Function",)):
        assert tables_in_sql("my_function((SELECT 1 FROM query_models_item))") == {ITEM}


def test_any_function_will_do_where_only_tables_count():
    assert tables_in_sql(
        "decipher((SELECT 1 FROM query_models_item))", allow_unknown_functions=True
    ) == {ITEM}
    with pytest.raises(SqlAnalysisError):
        tables_in_sql("decipher((SELECT 1 FROM a_view))", allow_unknown_functions=True)


def test_table_with_a_schema_in_its_name_is_found(monkeypatch):
    monkeypatch.setattr(
        schema, "_models_by_table", lambda: {'"old"."loan"': None, 'new"."loan': None}
    )
    monkeypatch.setattr(schema, "_tables_by_sql_name", schema._tables_by_sql_name.__wrapped__)
    assert tables_in_sql('SELECT 1 FROM "old"."loan", New.loan') == {'"old"."loan"', 'new"."loan'}
    assert find_model_table('"old"."loan"') == '"old"."loan"'


def test_extra_table_is_one_of_a_model():
    assert find_model_table("query_models_item") == ITEM
    for name in ("a_view", "query_models_item a_view", ""):
        with pytest.raises(SqlAnalysisError):
            find_model_table(name)
