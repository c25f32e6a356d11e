"""What works without the cache works with it: small things of Django's that a cache gets in the way of."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def process(start):
    made = start()
    made.execute("Shelf.objects.create(pk=1, name='Oak'); Shelf.objects.create(pk=2, name='Fir')")
    return made


def test_first_row_of_an_evaluated_queryset_is_its_own_object(process):
    process.execute("found = Shelf.objects.order_by('pk'); list(found)")
    asked = process.execute("found.first() is found[0]")
    assert (asked.value, asked.queries) == (True, [])


def test_fast_delete_stays_fast(process):
    """A listener of `post_delete` would have Django select the rows first."""
    said = process.execute("Loan.objects.filter(reader='Ann').delete()")
    assert [sql.split()[0] for sql in said.queries] == ["BEGIN", "DELETE", "COMMIT"]


def test_adding_to_a_relation_selects_nothing_first(process):
    """A listener of `m2m_changed` would have Django look for what is there already."""
    process.execute("Tag.objects.create(pk=1, slug='red'); Book.objects.create(pk=1, title='One')")
    said = process.execute("Book(pk=1).tags.add(1)")
    assert [sql.split()[0] for sql in said.queries] == ["BEGIN", "INSERT", "COMMIT"]
    assert process.evaluate(
        "list(Tag.objects.filter(book__title='One').values_list('slug', flat=True))"
    ) == ["red"]


def test_procedure_takes_what_django_takes(process):
    """SQLite has none, which Django says itself."""
    refused = "from django.db import NotSupportedError\ntry:\n  connection.cursor().callproc('p', [], {'a': 1})\nexcept NotSupportedError as error:\n  said = str(error)\nsaid"
    assert "Keyword parameters" in process.evaluate(refused)


@pytest.mark.parametrize(
    "fails",
    [
        "with patch.object(connection, 'set_autocommit', side_effect=OperationalError), transaction.atomic():\n    pass",
        "with transaction.atomic(), patch.object(connection, 'commit', side_effect=InterfaceError):\n    Shelf.objects.update(name='A')",
        "with transaction.atomic():\n    transaction.on_commit(lambda: 1 / 0)\n    Shelf.objects.update(name='B')",
    ],
    ids=["enter", "commit", "callback"],
)
def test_block_that_fails_leaves_no_transaction_behind(process, fails):
    """Its thread would bypass the cache ever after."""
    indented = "\n".join(f"  {line}" for line in fails.splitlines())
    process.execute(
        "from unittest.mock import patch\nfrom django.db import InterfaceError, OperationalError\n"
        f"try:\n{indented}\nexcept Exception:\n  pass\nconnection.close() if connection.in_atomic_block else None"
    )
    names = "list(Shelf.objects.order_by('pk').values_list('name', flat=True))"
    assert process.evaluate(names) == process.evaluate(
        "list(Shelf.objects.nocache().order_by('pk').values_list('name', flat=True))"
    )
    assert process.is_hit(names)


def test_model_outside_the_registry_is_not_cached(process):
    """Raw SQL that changes its table would not be seen."""
    process.execute(
        """
from django.apps.registry import Apps
class Historical(models.Model):
    name = models.CharField(max_length=100)
    class Meta:
        apps, app_label, db_table = Apps(), 'write_models', 'historical'
with connection.schema_editor() as editor:
    editor.create_model(Historical)
Historical.objects.create(name='a')
"""
    )
    count = "Historical.objects.filter(name='a').count()"
    assert (process.evaluate(count), process.evaluate(count)) == (1, 1)
    process.execute("connection.cursor().execute(\"UPDATE historical SET name = 'b'\")")
    assert process.evaluate(count) == 0


AWAY = """
import warnings
from cacheops import CacheMiss, cache, cached, cached_as, invalidate_model, invalidate_obj
warnings.simplefilter("error")
{}
"""


@pytest.mark.parametrize(
    "source",
    [
        "list(Shelf.objects.all())",
        "Shelf.objects.create(name='Elm')",
        "Shelf.objects.filter(pk=1).update(name='Ash')",
        "with transaction.atomic():\n    Shelf.objects.filter(pk=1).update(name='Ash')",
        "Shelf.objects.filter(pk=1).delete()",
        "cached_as(Shelf)(lambda: 1)()",
        "cached(timeout=9)(lambda: 1)()",
        "cache.set('a', 1, 9)",
        "try:\n    cache.get('a')\nexcept CacheMiss:\n    pass",
        "cache.delete('a')",
        "invalidate_obj(Shelf(pk=1))",
        "invalidate_model(Shelf)",
    ],
)
def test_warnings_that_are_raised_break_nothing_while_redis_is_away(start, source):
    """As they are under `-W error`."""
    start().execute(AWAY.format("pass"))
    assert (
        start(CACHEOPS_REDIS="redis://127.0.0.1:1/0").evaluate(AWAY.format(source) + "'not raised'")
        == "not raised"
    )
