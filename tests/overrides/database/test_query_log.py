"""An application sees the queries that it would see without the cache, in autocommit mode too."""

import pytest

from tests.support.application_process import application_processes

WRITES = {
    "create": "Tag.objects.create(pk=1, slug='red')",
    "save": "tag = Tag(pk=2, slug='blue'); tag.save(force_insert=True); tag.hits = 2; tag.save()",
    "update": "Tag.objects.filter(pk=9).update(hits=3)",
    "bulk": "Tag.objects.bulk_create([Tag(pk=3, slug='a'), Tag(pk=4, slug='b')])",
    "delete of an object": "Tag.objects.get(pk=9).delete()",
    "delete": "Tag.objects.filter(hits=3).delete()",
    "failing": "try:\n  Tag.objects.create(pk=9)\nexcept Exception as error:\n  pass",
    "in a transaction": "with transaction.atomic():\n  Tag.objects.filter(pk=9).update(hits=3)",
    "rolled back": "with transaction.atomic():\n  Tag.objects.filter(pk=9).update(hits=3)\n  transaction.set_rollback(True)",
    "with a callback": "with transaction.atomic():\n"
    "  transaction.on_commit(lambda: Tag.objects.filter(pk=9).update(hits=4)); Tag.objects.filter(pk=9).update(hits=3)",
    "by a signal": "def again(instance, created, **_):\n  if created: Tag.objects.filter(pk=9).update(hits=5)\n"
    "models.signals.post_save.connect(again, sender=Tag)\nTag.objects.create(pk=5, slug='c')\n"
    "models.signals.post_save.disconnect(again, sender=Tag)",
}

WRAPPED = """
told = []
def wrapper(execute, sql, params, many, context):
    told.append(sql)
    return execute(sql, params, many, context)
with connection.execute_wrapper(wrapper):
    {write}
told
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request, tree, plain_server, tmp_path):
    """Give a process without the cache, and one with it."""
    plain_server.flush_all()
    settings = {}
    if request.param == "postgresql":
        settings["DATABASES"] = {"default": request.getfixturevalue("new_database")}
    with application_processes(
        tree, tmp_path, f"redis://127.0.0.1:{plain_server.port}", **settings
    ) as start:
        yield start(IS_CACHED=False), start()


def prepared(process):
    process.execute("Tag.objects.all().delete(); Tag.objects.create(pk=9, slug='nine')")
    return process


def test_queries_of_a_write_are_those_of_django(both):
    for name, write in WRITES.items():
        plain, cached = (prepared(process).execute(write).queries for process in both)
        assert plain, name
        assert cached == plain, name


def test_wrapper_of_queries_is_told_what_django_tells_it(both):
    for name, write in WRITES.items():
        source = WRAPPED.format(write=write.replace("\n", "\n    "))
        plain, cached = (prepared(process).evaluate(source) for process in both)
        assert plain, name
        assert cached == plain, name
