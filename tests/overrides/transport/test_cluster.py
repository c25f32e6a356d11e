"""All that cacheops does, in a cluster of three masters: no command of it crosses slots, and keys are on all of them."""

from contextlib import ExitStack

import pytest

from tests.support.application_process import application_processes
from tests.support.redis_watch import watching

pytestmark = pytest.mark.slow

CLIENT = "redis.cluster.RedisCluster"
ROWS = """
calls.clear()
for model in (Book, Shelf, Tag):
    model.objects.all().delete()
for n in range(20):
    Shelf.objects.create(pk=n + 1, name=f'Shelf {n}')
    Tag.objects.create(pk=n + 1, slug=f'tag-{n}')
    Book.objects.create(pk=n + 1, title=f'Book {n}', pages=n, shelf_id=n + 1).tags.add(n + 1)
"""
PREPARED = """
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from cacheops import simple
calls = []

@cached_as(Book.objects.filter(pages=3), timeout=60, extra=1)
def as_function(n): calls.append('as'); return [n, Book.objects.nocache().get(pages=3).title]

@cached_as(Book.objects.filter(pages=3), timeout=60, lock=True, keep_fresh=True)
def locked(): calls.append('locked'); return Book.objects.nocache().get(pages=3).title

@cached_view_as(Book.objects.filter(pages=3), timeout=60)
def view(request): calls.append('view'); return HttpResponse(Book.objects.nocache().get(pages=3).title)
def viewed(): return view(RequestFactory().get('/a')).content.decode()

template = Template('{% load cacheops %}{% cached_as books 60 "part" %}{{ books.0.title }}{% endcached_as %}')
def part(): return template.render(Context({'books': Book.objects.filter(pages=3)}))

@cached(timeout=60)
def plain(n): calls.append('plain'); return n
"""


@pytest.fixture(scope="module", params=[False, True], ids=["spread", "by table"])
def shared_application(tree, shared_cluster, tmp_path_factory, request):
    """Give a process that talks to the cluster, its keys spread or kept by table."""
    shared_cluster.flush_all()
    address = f"redis://127.0.0.1:{shared_cluster.nodes[0].port}"
    more = {
        "CACHEOPS_CLIENT_CLASS": CLIENT,
        "CACHEOPS_ROVER_SHARD_BY_TABLE": request.param,
        "CACHEOPS_DEGRADE_ON_FAILURE": False,
    }
    with application_processes(
        tree, tmp_path_factory.mktemp("application"), address, **more
    ) as start:
        process = start()
        process.execute(PREPARED)
        process.by_table = request.param
        yield process


@pytest.fixture
def application(shared_application, shared_cluster):
    """Give it with an empty cluster and the same rows for each test."""
    shared_cluster.flush_all()
    shared_application.execute(ROWS)
    return shared_application


def change(process, call, write):
    """Assert that a call is a hit until a write, and not after it; return what it says before and after."""
    before = process.evaluate(call)
    assert process.is_hit(call), call
    assert process.evaluate(call) == before
    process.execute(write)
    assert not process.is_hit(call), call
    return before, process.evaluate(call)


RENAME = "book = Book.objects.nocache().get(pages=3); book.title = 'New'; book.save()"


@pytest.mark.parametrize(
    ("call", "before", "after", "write"),
    [
        ("Book.objects.get(pages=3).title", "Book 3", "New", RENAME),
        ("Book.objects.filter(title='New').count()", 0, 1, RENAME),
        (
            "[b.title for b in Book.objects.filter(pages__lt=5, pages__gt=2)]",
            ["Book 3", "Book 4"],
            ["New", "Book 4"],
            RENAME,
        ),
        (
            "[b.pk for b in Book.objects.filter(shelf__name='Shelf 3')]",
            [4],
            [],
            "Shelf.objects.filter(pk=4).update(name='x')",
        ),
        (
            "[b.pk for b in Book.objects.filter(tags__slug='tag-3')]",
            [4],
            [],
            "Tag.objects.filter(pk=4).update(slug='x')",
        ),
        (
            "[b.pk for b in Book.objects.filter(tags__slug='tag-3')]",
            [4],
            [],
            "Book.objects.get(pk=4).tags.clear()",
        ),
        ("as_function(1)", [1, "Book 3"], [1, "New"], RENAME),
        ("locked()", "Book 3", "New", RENAME),
        ("viewed()", "Book 3", "New", RENAME),
        ("part()", "Book 3", "New", RENAME),
    ],
)
def test_hits_end_with_a_write(application, call, before, after, write):
    assert change(application, call, write) == (before, after)


@pytest.mark.parametrize(
    "invalidation",
    [
        "invalidate_obj(Book.objects.nocache().get(pages=3))",
        "invalidate_model(Book)",
        "invalidate_all()",
    ],
)
def test_explicit_invalidation(application, invalidation):
    change(application, "Book.objects.get(pages=3).title", invalidation)
    change(application, "as_function(1)", invalidation)


def test_simple_cache(application):
    assert application.evaluate("plain(1); plain(1); calls.count('plain')") == 1
    assert application.evaluate("plain.invalidate(1); plain(1); calls.count('plain')") == 2
    assert application.evaluate(
        "cache.set('a', [1], 60); cache.set('b', 2); [cache.get('a'), cache.get('b')]"
    ) == [[1], 2]
    missed = "cache.delete('a')\ntry:\n  found = cache.get('a')\nexcept CacheMiss:\n  found = 'miss'\nfound"
    assert application.evaluate(missed) == "miss"


def test_conj_reaper_does_no_harm(application):
    application.evaluate("Book.objects.get(pages=3).title")
    application.execute(
        "from django.core.management import call_command; call_command('reapconjs', min_conj_set_size=0)"
    )
    assert application.is_hit("Book.objects.get(pages=3).title")


def test_keys_are_on_all_masters(application, shared_cluster):
    application.execute(
        "for n in range(20):\n  list(Book.objects.filter(pages=n, shelf__name=f'Shelf {n}'))"
    )
    assert application.is_hit(
        "for n in range(20):\n  list(Book.objects.filter(pages=n, shelf__name=f'Shelf {n}'))"
    )
    for node in shared_cluster.nodes:
        assert any(":q:" in f":{name}" for name in node.key_names()), "results"
    stamped = [
        sum("stamp:" in name and "book" in name for name in node.key_names())
        for node in shared_cluster.nodes
    ]
    assert sum(map(bool, stamped)) == (1 if application.by_table else 3), stamped


def test_flush_does_not_block(application, shared_cluster):
    application.evaluate("Book.objects.get(pages=3).title")
    with ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in shared_cluster.nodes]
        ran = [stack.enter_context(watching(client)) for client in clients]
        application.execute("invalidate_all()")
    assert shared_cluster.key_names() == []
    for commands in ran:
        flushes = [command.args for command in commands if command.name.startswith("FLUSH")]
        assert flushes == [("ASYNC",)]
        assert not {"KEYS", "SCAN"} & {command.name for command in commands}
