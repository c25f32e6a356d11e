"""No command and no script of any call of cacheops touches more than 1,000 keys or members, with many results cached."""

import os

import pytest
from redis.commands.core import Script

from tests.support.application_process import application_processes
from tests.support.redis_watch import units, watching

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("a million results")]

MOST = 1000
RESULTS = 1_000_000
SEEDED = 50_000  # in a script
STEPS = int(
    os.environ.get("REAPER_STEPS", "100")
)  # of the reaper, which are all alike; 10,000 are more than there are
TEMPLATES = 998  # that fill the registry of the table, but for the one of the tests
BLOCKING = {"KEYS", "SMEMBERS", "SUNION", "HGETALL", "SORT", "FLUSHALL", "SSCAN"}
KEYLESS = {"INFO", "HELLO", "CLIENT", "SELECT", "FLUSHDB", "PING"}
LISTS = {"LRANGE", "LPOS"}

PREPARED = """
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.core.management import call_command
from itertools import islice
from rover_overrides.operations import reclaim
steps = reclaim._steps
reclaim._steps = lambda match: islice(steps(match), {steps} if match == '*' else None)

@cached_as(Book.objects.filter(pages=3), timeout=600)
def as_function(): return 1
@cached_view_as(Book.objects.filter(pages=3), timeout=600)
def view(request): return HttpResponse('x')
template = Template('{% load cacheops %}{% cached_as books 60 "part" %}{{ books.0.title }}{% endcached_as %}')
"""
CALLS = {
    "hit": "list(Book.objects.filter(pages=3))",
    "long list": "list(Book.objects.filter(pages__in=list(range(5000))))",
    "join": "list(Book.objects.filter(shelf__name='Left', tags__slug='x'))",
    "save": "book = Book.objects.nocache().get(pk=1); book.title += 'x'; book.save()",
    "update of many": "Book.objects.filter(pk__gt=0).update(extra=None)",
    "many saves": "with transaction.atomic():\n  for n in range(1500):\n    Tag.objects.create(slug=f's{n}')",
    "bulk": "Tag.objects.bulk_create(Tag(slug=f'b{n}') for n in range(1200))",
    "delete": "Tag.objects.all().delete()",
    "function": "as_function()",
    "view": "view(RequestFactory().get('/a'))",
    "fragment": "template.render(Context({'books': Book.objects.filter(pages=3)}))",
    "invalidate_obj": "invalidate_obj(Book.objects.nocache().get(pk=1))",
    "invalidate_model": "invalidate_model(Book)",
    "reclaim": "found = reclaim.reclaim('*9999', dry_run=True); assert found.results >= 100, found",
    "reaper": "call_command('reapconjs', min_conj_set_size=0)",
    "invalidate_all": "invalidate_all()",
}
SEED = """
for number in range({templates}):
    list(Book.objects.filter(pages__gt=number, title__gt='x'))
"""


@pytest.fixture(scope="module")
def full(tree, plain_server, tmp_path_factory):
    """Give a process and a server with many results that depend on the same condition; most are copies of one."""
    plain_server.flush_all()
    address = f"redis://127.0.0.1:{plain_server.port}"
    with application_processes(tree, tmp_path_factory.mktemp("full"), address) as start:
        process = start()
        process.execute("for n in range(10):\n  Book.objects.create(title='t', pages=n)")
        process.execute(PREPARED.replace("{steps}", str(STEPS)))
        process.execute("list(Book.objects.filter(pages=0))")
        with plain_server.client() as client:
            seed(client)
            assert client.dbsize() > RESULTS
        process.execute(SEED.format(templates=TEMPLATES))
        yield process


def seed(client):
    """Copy a result, which stays one that can be hit, by a script that the tests do not watch."""
    [first] = client.keys("q:*")
    copies = Script(
        client, "for n = ARGV[1], ARGV[2] do redis.call('copy', KEYS[1], KEYS[1] .. n) end"
    )
    for start in range(0, RESULTS, SEEDED):
        copies(keys=[first], args=[start, start + SEEDED - 1])


def touched(client, unit):
    """Return how many different keys, and members of lists that are read, a command or a script with its commands touches."""
    keys, lists = set(), set()
    for command in unit:
        if command.name in KEYLESS:
            continue
        found = client.execute_command(
            "COMMAND GETKEYS", command.name, *(each.encode("latin-1") for each in command.args)
        )
        keys.update(found)
        lists.update(found if command.name in LISTS else ())
    return len(keys) + sum(client.llen(key) - 1 for key in lists if client.type(key) == b"list")


@pytest.mark.parametrize("name", CALLS)
def test_no_command_touches_many_keys(full, plain_server, name):
    with plain_server.client() as client:
        with watching(client) as ran:
            full.execute(CALLS[name])
        assert ran
        steps = [command.args for command in ran if command.name == "SCAN"]
        assert all(int(args[args.index("COUNT") + 1]) <= MOST for args in steps), (
            "a SCAN looks at that many keys"
        )
        assert not steps or name in {"reaper", "reclaim"}
        for unit in units([command for command in ran if command.name != "SCAN"]):
            assert not BLOCKING & {command.name for command in unit}
            assert touched(client, unit) <= MOST, unit
        assert {command.args for command in ran if command.name == "FLUSHDB"} <= {("ASYNC",)}
