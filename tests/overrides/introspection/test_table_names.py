"""Which tables a piece of SQL names where it may read them, and which pieces nobody understands."""

import pytest
from django.test import override_settings

from rover_overrides.introspection import schema
from rover_overrides.introspection.table_names import UnreadableError, known_table, tables_named

ITEM, MAKER, OWNER = "asked_item", "asked_maker", "asked_owner"

READ = {
    "number > 1 AND text LIKE 'a%%'": set(),
    "lower(text) = upper(%s) OR number IN (1, 2)": set(),
    "text = 'SELECT 1 FROM nowhere'": set(),
    "text = 'it''s FROM nowhere' -- FROM nowhere\n": set(),
    "text = $q$ FROM nowhere $q$ /* FROM nowhere */": set(),
    "SELECT 1": set(),
    "SELECT MAX(rank) FROM asked_maker": {MAKER},
    "SELECT MAX(rank) FROM Asked_MAKER": {MAKER},
    'SELECT MAX(m.rank) FROM "asked_maker" AS m': {MAKER},
    "SELECT MAX(rank) FROM `asked_maker`": {MAKER},
    "SELECT 1 FROM public.asked_maker, main.asked_item i": {MAKER, ITEM},
    "SELECT 1 FROM asked_item i JOIN asked_maker m ON (m.id = i.made_by), asked_owner o WHERE o.id = 1, 2": {
        ITEM,
        MAKER,
        OWNER,
    },
    "SELECT 1 FROM (asked_item i LEFT JOIN asked_maker m ON 1 = 1)": {ITEM, MAKER},
    "SELECT 1 FROM (SELECT 1 FROM asked_item) x, asked_maker": {ITEM, MAKER},
    "SELECT 1 FROM ONLY asked_item, LATERAL (SELECT 1 FROM asked_maker) y": {ITEM, MAKER},
    "EXISTS(TABLE asked_item)": {ITEM},
    "id IN asked_item": {ITEM},
    "WITH x AS (SELECT 1 FROM asked_item) SELECT 1 FROM x": {ITEM},
    "WITH RECURSIVE x(a, b) AS (SELECT 1 FROM asked_item UNION ALL SELECT 1 FROM x), y AS MATERIALIZED (SELECT 1 FROM x)"
    " SELECT 1 FROM y JOIN asked_maker ON 1 = 1": {ITEM, MAKER},
    "WITH RECURSIVE x AS ((SELECT 1 FROM asked_item) UNION ALL (SELECT 1 FROM x)) SELECT 1 FROM x": {
        ITEM
    },
    "SELECT 1 FROM ((SELECT 1 FROM asked_item) UNION (SELECT 1 FROM asked_maker)) x, asked_owner": {
        ITEM,
        MAKER,
        OWNER,
    },
    "WITH asked_item AS (SELECT 1 FROM asked_item) SELECT 1 FROM asked_item": {ITEM},
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
    assert tables_named(sql) == READ[sql]


UNREAD = [
    "SELECT 1 FROM a_view",
    "SELECT 1 FROM archive.asked_item",
    'SELECT 1 FROM "Asked_Item"',
    "SELECT 1 FROM asked_item, a_view",
    "SELECT 1 FROM asked_item NATURAL JOIN a_view",
    "SELECT 1 FROM %s",
    "SELECT 1 FROM 'asked_item'",
    "SELECT 1 FROM [asked_item]",
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
    "WITH x AS (DELETE FROM asked_item RETURNING 1) SELECT 1 FROM x",
    "text = 'open",
    'text = "open',
    "1) FROM (2",
    "1)",
]


@pytest.mark.parametrize("sql", UNREAD)
def test_sql_that_nobody_understands(sql):
    with pytest.raises(UnreadableError):
        tables_named(sql)


def test_parameter_that_names_a_moment_has_no_fixed_answer():
    assert tables_named("date(%s) > day", ["2024-01-01"]) == set()
    with pytest.raises(UnreadableError):
        tables_named("date(%s) > day", [" NOW"])


def test_function_that_the_site_vouches_for_is_fixed():
    with override_settings(CACHEOPS_ROVER_FIXED_FUNCTIONS=("My_Function",)):
        assert tables_named("my_function((SELECT 1 FROM asked_item))") == {ITEM}


def test_any_function_will_do_where_only_tables_count():
    assert tables_named("decipher((SELECT 1 FROM asked_item))", any_function=True) == {ITEM}
    with pytest.raises(UnreadableError):
        tables_named("decipher((SELECT 1 FROM a_view))", any_function=True)


def test_table_with_a_schema_in_its_name_is_found(monkeypatch):
    monkeypatch.setattr(schema, "_models", lambda: {'"old"."loan"': None, 'new"."loan': None})
    monkeypatch.setattr(schema, "_spellings", schema._spellings.__wrapped__)
    assert tables_named('SELECT 1 FROM "old"."loan", New.loan') == {'"old"."loan"', 'new"."loan'}
    assert known_table('"old"."loan"') == '"old"."loan"'


def test_extra_table_is_one_of_a_model():
    assert known_table("asked_item") == ITEM
    for name in ("a_view", "asked_item a_view", ""):
        with pytest.raises(UnreadableError):
            known_table(name)
