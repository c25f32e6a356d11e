"""A write that Redis does not hear of reaches it through the database, if the setting says so.

A write that Redis could not be told of, neither before its COMMIT nor after it, left stale results
behind. Its process now drops all of its tables before it next asks Redis. With
CACHEOPS_ROVER_OUTBOX = True the names of the tables are also inserted into the database, in the
same transaction: other processes look there every CACHEOPS_ROVER_OUTBOX_SECONDS, and so does
`manage.py drainoutbox`.

Code: operations.outbox, commands.drainoutbox, invalidation.prefixed_tables
Drop-When: upstream makes up for an invalidation that did not reach Redis
"""

from contextlib import contextmanager

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import override_settings
from probe_project.models import Article

pytestmark = [
    pytest.mark.filterwarnings("ignore:The cacheops cache"),
    pytest.mark.usefixtures("no_waiting"),
]


@contextmanager
def unheard():
    """Let no command reach the server, as from a writer that is cut off from it."""
    base = getattr(redis.connection, "AbstractConnection", redis.connection.Connection)
    send = base.send_packed_command

    def sent(self, *args, **kwargs):
        raise redis.ConnectionError("cut off")

    base.send_packed_command = sent
    try:
        yield
    finally:
        base.send_packed_command = send


@pytest.fixture(autouse=True)
def outbox():
    with override_settings(
        CACHEOPS_ROVER_OUTBOX=True, CACHEOPS_ROVER_OUTBOX_SECONDS=0, CACHEOPS_ROVER_RETRY_SECONDS=0
    ):
        call_command("migrate", verbosity=0)
        yield


def beta():
    return list(Article.objects.filter(pages=2).values_list("title", flat=True))


def rename(title):
    with transaction.atomic():
        article = Article.objects.nocache().get(pk=2)
        article.title = title
        article.save()


def test_reader_finds_what_redis_did_not_hear(probe):
    assert probe.fill(beta) == ["Beta"]
    with unheard():
        rename("Omega")
    assert beta() == ["Omega"]


def test_command_tells_redis(probe):
    assert probe.fill(beta) == ["Beta"]
    with unheard():
        rename("Omega")
    try:
        call_command("drainoutbox")
    except CommandError as error:
        raise AssertionError("there is no manage.py drainoutbox: %s" % error) from None
    assert beta() == ["Omega"]


def test_write_that_redis_hears_keeps_other_results(probe):
    assert probe.fill(beta) == ["Beta"]
    with transaction.atomic():
        Article(pk=9, title="New", pages=9).save()
    with probe.queries() as queries:
        assert beta() == ["Beta"]
    assert all("outbox" in query["sql"] for query in queries.captured_queries)
