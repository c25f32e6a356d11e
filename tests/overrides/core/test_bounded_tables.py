"""What a process keeps of queries and templates is bounded; what was dropped is only slower."""

import ast
import os
import signal
import threading
from itertools import chain
from pathlib import Path

import pytest
from django.test import override_settings

from rover_overrides.cache import nested_reads, registry, results, row_values
from rover_overrides.conditions import conditions
from rover_overrides.conditions.conditions import Conj, parse_template
from rover_overrides.conditions.matching import conditions_met_by
from rover_overrides.core.bounded_table import BoundedTable, approximate_bytes
from rover_overrides.invalidation import plans, two_phase
from rover_overrides.keys.encoding import note_digest, statement_digest
from rover_overrides.queries import dependencies
from rover_overrides.queries.analysis import dependencies as analysed
from tests.support.condition_texts import among
from tests.support.query_models.models import Item

ROOT = Path(__file__).parents[3] / "rover_overrides"
KEPT = {
    "cache/nested_reads.py:_learned": "bytes",
    "cache/pending_writes.py:abandoned_writers": "for a minute each; must not be dropped",
    "cache/results.py:before_read": "callbacks of modules",
    "cache/row_values.py:_nodes": "bytes",
    "cache/serialization.py:_warned": "100 texts of 1,000 characters",
    "conditions/conditions.py:_parsed": "bytes",
    "core/switches.py:_current_ids": "16 settings",
    "database/snapshots.py:_default_is_snapshot": "settings of databases",
    "database/snapshots.py:_models_of_table": "1,024 tables of models",
    "introspection/django_classes.py:cached_by_identity": "4,096 fields or classes for a function",
    "introspection/schema.py:_models_by_table": "one",
    "introspection/schema.py:_tables_by_sql_name": "one",
    "introspection/schema.py:field_of": "8,192 names of columns",
    "invalidation/commits.py:on_invalidate_failed": "callbacks of modules",
    "invalidation/commits.py:on_prepare_failed": "callbacks of modules",
    "invalidation/plans.py:_plans": "bytes",
    "invalidation/transaction_ends.py:after_transaction": "callbacks of modules",
    "invalidation/unknown_commits.py:open_commits": "until they have ended; must not be dropped",
    "invalidation/unsent.py:_unsent": "tables, until Redis is back; must not be dropped",
    "keys/query_keys.py:_kinds": "1,024 combinations of classes",
    "metrics/counters.py:_counts": "500 names",
    "queries/dependencies.py:_cache": "bytes",
    "queries/prepared.py:_names": "64 numbers",
    "shapes/backends.py:_numbers": "kinds of databases",
    "shapes/operands.py:_readers": "4,096 lookups of fields",
    "shapes/structural_keys.py:_table": "bytes",
    "shapes/structure.py:_readers_of": "256 sets of a query's attributes",
    "transport/epochs.py:servers_by_pool": "weak",
    "transport/epochs.py:used_prefixes": "10,000 prefixes",
    "transport/pipeline.py:_identities": "weak",
    "transport/pipeline.py:_stale_clusters": "weak",
    "transport/refusals.py:_warned": "100 texts of Redis",
    "transport/sentinel.py:_next_checks": "weak",
}
"""What each table of the process is bounded by; those of objects are with their classes' tests."""
_MADE_BY = {
    "BoundedTable",
    "Counter",
    "WeakKeyDictionary",
    "WeakSet",
    "defaultdict",
    "deque",
    "dict",
    "list",
    "set",
}


def made_of(node):
    """Return what a value is made by, if that may grow."""
    if isinstance(node, (ast.Dict, ast.List)):
        return not (getattr(node, "keys", None) or getattr(node, "elts", None))
    called = node.func if isinstance(node, ast.Call) else None
    called = called.value if isinstance(called, ast.Subscript) else called
    return (
        isinstance(called, ast.Name)
        and called.id in _MADE_BY
        and not (called.id in {"dict", "list", "set"} and node.args)
    )


def tables_of(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and "lru_cache" in "".join(
            map(ast.dump, node.decorator_list)
        ):
            yield node.name
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value and made_of(node.value):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            yield target.id


def test_each_table_of_a_process_has_a_bound():
    found = {
        f"{path.relative_to(ROOT)}:{name}"
        for path in ROOT.rglob("*.py")
        for name in tables_of(path)
    }
    by_hand = {"introspection/django_classes.py:cached_by_identity"}
    constants = {name for name in found if name.split(":")[1].startswith("_N")}  # empty for ever
    assert found - constants | by_hand == set(KEPT)


def test_oldest_entries_are_dropped():
    table = BoundedTable(10_000)
    for number in range(100):
        table.put(number, "x" * 1000)
        assert table.used <= 10_000
    assert list(table) == list(range(100 - len(table), 100))
    assert len(table) > 5
    assert table.get(0) is None
    table.put(99, "short")
    table.discard(98)
    table.discard("none")
    assert table.used == sum(table.size(key) for key in table) + 250 * len(table)
    table.grow(97, 9_999)
    assert 97 not in table
    assert table.put("large", "x" * 20_000) == "x" * 20_000
    assert not table
    assert table.used == 0


def test_missing_entries_are_made():
    made = []
    table = BoundedTable(2_000, lambda key: made.append(key) or key * 2)
    assert [table["a"], table["a"], *[table[f"{n}"] for n in range(50)], table["a"]] == [
        *["aa"] * 2,
        *[f"{n}{n}" for n in range(50)],
        "aa",
    ]
    assert made.count("a") == 2
    with pytest.raises(KeyError):
        BoundedTable(1)["a"]


def test_threads_share_a_table():
    table = BoundedTable(20_000, lambda key: f"{key}" * 50)
    failed = []

    def use():
        try:
            for number in range(3000):
                assert table[number % 97] == f"{number % 97}" * 50
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert table.used == sum(table.size(key) for key in table) + 250 * len(table) <= 20_000


def test_child_of_a_fork_may_use_a_table_that_a_thread_was_changing():
    table, is_over = BoundedTable(10_000), threading.Event()

    def use():
        while not is_over.is_set():
            table.put("a", "x")

    thread = threading.Thread(target=use)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if not child:
                signal.alarm(5)
                table.put("b", "y")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        is_over.set()
        thread.join()


def test_bytes_count_all_that_a_value_holds_once():
    text, name = "x" * 1000, "y" * 500
    assert 1000 < approximate_bytes([text, text, (text,), {text: text}]) < 2000
    assert approximate_bytes({"a": text, "b": [name]}) > 1500
    assert approximate_bytes(Conj(text, (name,))) > 1500
    assert approximate_bytes(int) == 0
    cycle = []
    cycle.append(cycle)
    assert approximate_bytes(cycle) < 1000


LISTS = [[str(n) for n in range(first, first + 1000)] for first in range(0, 10_000, 100)]


@pytest.fixture
def small(monkeypatch):
    """Bound each table at a size that its tests exceed many times over."""
    for table in (
        conditions._parsed,
        plans._plans,
        dependencies._cache,
        row_values._nodes,
        nested_reads._learned,
    ):
        table.clear()
        monkeypatch.setattr(table, "used", 0)
        monkeypatch.setattr(table, "_sizes", {})
        monkeypatch.setattr(table, "limit", 100_000)
    monkeypatch.setattr(results, "_known_templates", registry.KnownTemplates())
    monkeypatch.setattr(two_phase, "_registry", registry.RegistryCopies())


def test_rows_meet_the_same_conditions_whatever_was_dropped(small):
    templates = [among("number", *some).template for some in LISTS]
    for number in (0, 150, 5_050, 10_899, 10_900):
        wanted = {
            Conj(template, ())
            for template, some in zip(templates, LISTS, strict=True)
            if str(number) in some
        }
        for _ in range(2):
            found = met_by_plans(templates, {"number": number})
            assert found == {conditions.TRUE, *wanted}
            assert conditions._parsed.used <= 100_000
            assert approximate_bytes(dict(conditions._parsed)) <= 100_000
            assert plans._plans.used <= 100_000
    assert 0 < len(conditions._parsed) < len(LISTS)
    assert 0 < len(plans._plans) < len(LISTS)


def met_by_plans(templates, row):
    """Return the conjs that a row meets, by a plan for each template."""
    found = set()
    for number, template in enumerate(templates):
        plan = plans.plan_of((f"{number}:", "query_models_item"), (template,))
        found |= plan.without_hop.matcher.conjs_met_by([row])
    return found


def test_plan_that_is_larger_than_all_may_be_is_used_and_not_kept(small):
    templates = tuple(among("number", *some).template for some in LISTS)
    plan = plans.plan_of(("", "query_models_item"), templates)
    assert len(plan.without_hop.matcher.conjs_met_by([{"number": 0}])) == 2
    assert not plans._plans


def test_parsed_lists_are_small(small):
    template = among("number", *map(str, range(3000))).template
    assert approximate_bytes(parse_template(template)) < 3_000
    plans.plan_of(("", "query_models_item"), (template,))
    assert plans._plans.size(("", "query_models_item")) - len(template) < 30_000


def test_negated_lists_are_compared_by_value():
    """The hash of -1 is that of -2: a row that is not in the list must not count as in it."""
    assert hash(-1) == hash(-2)
    template = among("number", "-1", "1", "2", "3").template
    assert conditions_met_by("query_models_item", [template], {"number": -2}) != {conditions.TRUE}
    negated = template.replace(",0]]", ",1]]")
    assert negated != template
    assert conditions_met_by("query_models_item", [negated], {"number": -2}) == {
        conditions.TRUE,
        Conj(negated, ()),
    }
    assert conditions_met_by("query_models_item", [negated], {"number": -1}) == {conditions.TRUE}


def test_dependencies_are_the_same_whatever_was_dropped(small):
    with override_settings(CACHEOPS_INSIDEOUT=True):
        for some in chain(LISTS, LISTS[:2]):
            queryset = Item.objects.filter(number__in=some)
            note_digest(
                queryset,
                statement_digest(*queryset.query.get_compiler("default").as_sql(), ()),
            )
            found = dependencies.dnfs(queryset)
            assert found == analysed(queryset, "rows")
            for prefix in ("a:", "b:"):
                assert results._cached_plan(found, prefix) == results._make_plan(found, prefix)
            assert dependencies._cache.used <= 100_000
            assert approximate_bytes(dict(dependencies._cache)) <= 120_000
        assert 0 < len(dependencies._cache) < len(LISTS)
        for number in range(200):
            results._cached_plan(found, f"{number}:")
            assert approximate_bytes(dict(dependencies._cache)) <= 120_000


def test_descriptions_of_rows_mean_the_same_whatever_was_dropped(small):
    names = [field.attname for field in Item._meta.concrete_fields]
    for number in chain(range(500), range(3)):
        stored = f"query_models.item {' '.join(names)}|n{number}", tuple(range(len(names) + 1))
        node, _ = row_values.unpack(stored)
        assert node.names == (*names, f"n{number}")
        assert row_values._nodes.used <= 100_000
    assert 0 < len(row_values._nodes) < 500
