"""Commits in a PostgreSQL, where what is looked up after one begins a transaction."""

import pytest

from tests.support.application_process import application_processes

pytestmark = pytest.mark.slow

READ = "list(Tag.objects.filter(book__title='Left').values_list('slug', flat=True))"
MANUAL = (
    "transaction.set_autocommit(False)\n{}\ntransaction.commit()\ntransaction.set_autocommit(True)"
)


@pytest.fixture
def site(tree, plain_server, new_database, tmp_path):
    """Give a process with a result that depends on rows through a relation to many."""
    plain_server.flush_all()
    url = f"redis://127.0.0.1:{plain_server.port}"
    with application_processes(tree, tmp_path, url, DATABASES={"default": new_database}) as start:
        made = start()
        made.execute(
            "Tag.objects.create(pk=1, slug='red')\nBook.objects.create(pk=1, title='Left').tags.add(1)"
        )
        assert made.evaluate(READ) == ["red"]
        assert made.is_hit(READ)
        yield made


@pytest.mark.parametrize(
    "around",
    ["{}", "with transaction.atomic():\n  {}", MANUAL],
    ids=["autocommit", "atomic", "manual"],
)
@pytest.mark.parametrize(
    ("write", "found"),
    [
        ("Tag.objects.filter(pk=1).update(slug='blue')", ["blue"]),
        ("Book.objects.get(pk=1).tags.clear()", []),
        ("Book.objects.filter(pk=1).update(title='Right')", []),
    ],
    ids=["end", "between", "beginning"],
)
def test_write_is_followed_by_another_one(site, around, write, found):
    site.execute(around.format(write))
    assert site.evaluate(READ) == found
    site.execute("Tag.objects.create(pk=2, slug='green')")
    assert site.evaluate("connection.get_autocommit()") is True
    assert site.evaluate("connection.connection.info.transaction_status.name") == "IDLE"
