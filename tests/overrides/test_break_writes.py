"""What an application does around its writes that the cache's own statements, transactions and hits must not change."""

import pytest

from tests.overrides.process import processes

FILL = "Shelf.objects.create(pk=1, name='Oak'); Tag.objects.create(pk=1, slug='red', hits=1)"
HITS = "list(Tag.objects.order_by('pk').values_list('hits', flat=True))"
SLUGS = "list(Tag.objects.order_by('pk').values_list('slug', 'hits'))"
ONE = "list(Tag.objects.filter(hits=1).values_list('slug', flat=True))"
UPSERT = "Tag.objects.bulk_create([Tag(slug={}, hits={})], update_conflicts=True, unique_fields=['slug'], update_fields=['hits'])"


@pytest.fixture
def postgresql(tree, plain_server, new_database, tmp_path):
    """Give a function that starts processes on one PostgreSQL."""
    plain_server.flush()
    with processes(tree, tmp_path, f"redis://127.0.0.1:{plain_server.port}", DATABASES={"default": new_database}) as begin:
        yield begin


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request):
    """Give a function that starts processes on one database, of each kind."""
    return request.getfixturevalue("start" if request.param == "sqlite" else "postgresql")


WRITES = {
    "save": "Tag(pk=1, slug='red', hits=2).save()",
    "update": "Tag.objects.update(slug='red', hits=2)",
    "bulk_update": "Tag.objects.bulk_update([Tag(pk=1, slug='red', hits=2)], ['slug', 'hits'])",
    "upsert": UPSERT.format("'red'", 2),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_that_leaves_a_key_as_it_is_does_not_keep_children_off(postgresql, write):
    """Whoever inserts a row that leads to the written one holds it FOR KEY SHARE until its own COMMIT."""
    writer, child = postgresql(), postgresql()
    writer.ask(FILL)
    child.ask("atomic = transaction.atomic(); atomic.__enter__()")
    child.ask("connection.cursor().execute('SELECT 1 FROM written_tag WHERE id = 1 FOR KEY SHARE')")
    assert writer.value(HITS) == [1]
    writer.ask(write)  # it would have no answer until the child's COMMIT
    assert writer.value(HITS) == [2]
    child.ask("atomic.__exit__(None, None, None)")
