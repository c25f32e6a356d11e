"""A writer of whom Redis hears nothing after its COMMIT, for it died or was cut off, leaves
nothing stale behind.

An invalidation ran after the COMMIT. A writer that died in between, or that Redis did not hear any
more, left stale results behind for their whole timeout.

Now a writer enters itself for its tables and drops the stamps before the COMMIT. While it is
entered, no lease is given on them, so nothing read before the COMMIT is stored. After it the writer
drops again and leaves. The entry of one that died ends after a minute, until when results of those
tables are read from the database.

Code: invalidation.unknown_commits
Formerly: announced-commits
Drop-When: upstream's invalidation survives the death of a writer after its COMMIT
"""

from contextlib import contextmanager, suppress

import pytest
import redis
from cacheops import cached_as
from django.db import connection, transaction
from django.test import override_settings
from probe_project.models import Article, Section

pytestmark = [
    pytest.mark.filterwarnings("ignore:The cacheops cache"),
    pytest.mark.usefixtures("no_waiting"),
]


class Death(BaseException):
    """What nobody handles."""


@contextmanager
def unheard_after_commit(error=redis.ConnectionError):
    """Let no command reach the server once the database has committed."""
    base = getattr(redis.connection, "AbstractConnection", redis.connection.Connection)
    send, commit, heard = base.send_packed_command, connection._commit, [True]

    def sent(self, *args, **kwargs):
        if not heard[0]:
            raise error("the writer is dead")
        return send(self, *args, **kwargs)

    def committed():
        commit()
        heard[0] = False

    base.send_packed_command, connection._commit = sent, committed
    try:
        with override_settings(
            CACHEOPS_ROVER_RETRY_SECONDS=0
        ):  # for then readers would leave a server alone that failed
            yield
    finally:
        base.send_packed_command = send
        del connection._commit
    assert not heard[0], "nothing was committed"


def beta():
    return list(Article.objects.filter(pages=2).values_list("title", flat=True))


def named():
    return list(Article.objects.filter(section__name="Sport").values_list("title", flat=True))


@cached_as(Article.objects.filter(pages=2), timeout=60)
def computed():
    return Article.objects.nocache().get(pk=2).title


def rename():
    with transaction.atomic():
        Article.objects.nocache().get(pk=2).save()
        article = Article.objects.nocache().get(pk=2)
        article.title = "Omega"
        article.save()


@pytest.mark.parametrize(
    ("read", "before", "after"), [(beta, ["Beta"], ["Omega"]), (computed, "Beta", "Omega")]
)
def test_writer_that_dies_after_its_commit_leaves_nothing_stale(probe, read, before, after):
    assert probe.fill(read) == before
    with suppress(Death), unheard_after_commit(Death):
        rename()
    assert read() == after


def test_writer_that_redis_does_not_hear_after_its_commit_neither(probe):
    assert probe.fill(beta) == ["Beta"]
    with unheard_after_commit():
        rename()
    assert beta() == ["Omega"]


def test_its_related_rows_neither(probe):
    assert probe.fill(named) == ["Beta", "Gamma"]
    with unheard_after_commit(), transaction.atomic():
        Section.objects.filter(pk=2).update(name="Games")
    assert named() == []


def test_what_it_did_not_touch_is_kept(probe):
    assert probe.fill(beta) == ["Beta"]
    with unheard_after_commit(), transaction.atomic():
        Section.objects.create(pk=9, name="Books")
    assert beta() == ["Beta"]


def test_write_that_is_rolled_back_lets_results_be_stored_again(probe):
    with transaction.atomic():
        Article(pk=7, title="Never", pages=2).save()
        transaction.set_rollback(True)
    assert probe.fill(beta) == ["Beta"]
