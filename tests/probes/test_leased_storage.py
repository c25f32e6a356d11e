"""A reader who raced with a write leaves no old result behind, and no key that the server evicts
lets one live on.

A reader that raced with a write left an old result behind, for the whole timeout: it selected, the
write committed and invalidated, then it stored. Now a reader takes a lease before its SELECT: the
stamps of all that the result depends on. It stores under their checksum, which the write has made
false by then.

This replaces the storage of INSIDEOUT. Stamps are random, registries of the conditions in use are
bounded, and their generation is part of every result: whatever the server evicts, loses in a
restart or brings back from a dump makes results misses, never stale. No command touches two keys,
so that a cluster takes them all, none touches more than 1,000 members, and no script runs but a
short one on one key when a condition is new. invalidate_model() drops three keys.

What belongs to the reader is not stored: the objects that its related manager knows are attached
after the read. What an iterable, a model or a field reads by queries of its own is a dependency
too. A stored value that cannot be read is a miss, also of the simple cache: a deploy moved its
class.

Without INSIDEOUT upstream's own storage works as before.

Probes: tests/probes/test_table_prefix.py
Formerly: leased-fills
Drop-When: upstream stores no result that a write has outdated since the SELECT, and survives the
  eviction of any key
"""

import threading
from contextlib import contextmanager

import pytest
from cacheops import cached_as
from django.db import connection, connections
from django.db.models import Max
from django.db.models.signals import post_init
from probe_project.models import Article


def save_title(title):
    """Commit a row and its invalidation in a thread of its own, as another process would."""
    shared = connections[
        "default"
    ]  # not the proxy, which looks itself up in the thread that it is in
    saved = []

    def work():
        connections["default"] = shared
        Article(pk=2, title=title, pages=2).save()
        saved.append(title)

    shared.inc_thread_sharing()
    try:
        writer = threading.Thread(target=work)
        writer.start()
        writer.join()
    finally:
        shared.dec_thread_sharing()
    assert saved, "the save failed"


@contextmanager
def once_rows_are_made(call):
    """Do something as soon as a reader makes objects of the rows it has fetched."""
    done = []

    def make(sender, **kwargs):
        if not done:
            done.append(True)
            call()

    post_init.connect(make, sender=Article)
    try:
        yield
    finally:
        post_init.disconnect(make, sender=Article)
    assert done, "the reader made no objects"


@contextmanager
def once_sql_has_run(call):
    """Do something between the end of the next statement and the reader's next step."""
    done = []

    def run(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if not done:
            done.append(True)
            call()
        return result

    with connection.execute_wrapper(run):
        yield
    assert done, "the reader ran no SQL"


def beta():
    return Article.objects.filter(pages=2)


@cached_as(Article.objects.filter(pages=2), timeout=3600)
def cached_titles():
    return [article.title for article in beta().nocache()]


READS = {
    "queryset": (lambda: [article.title for article in beta()], once_rows_are_made),
    "get": (lambda: beta().get(pk=2).title, once_rows_are_made),
    "count": (lambda: beta().filter(title="Beta").count(), once_sql_has_run),
    "exists": (lambda: beta().filter(title="Beta").exists(), once_sql_has_run),
    "aggregate": (lambda: beta().aggregate(Max("title")), once_sql_has_run),
    "cached_as": (cached_titles, once_rows_are_made),
}


@pytest.mark.parametrize("kind", READS)
def test_read_that_raced_with_a_write_leaves_no_old_result(probe, kind):
    read, once = READS[kind]
    old = probe.fill(read)
    save_title("Other")
    save_title("Beta")
    with once(lambda: save_title("Beta 2")):
        assert read() == old, "what it selected is from before the write"
    assert read() != old, "the old result was stored"
    assert probe.fill(read) != old


def test_read_that_raced_with_nothing_is_kept(probe):
    read, once = READS["queryset"]
    with once(lambda: None):
        read()
    probe.assert_kept(read)


def test_other_reader_at_the_same_time_is_no_race(probe):
    read, once = READS["queryset"]
    with once(lambda: list(Article.objects.filter(pages=3))):
        read()
    probe.assert_kept(read)
    probe.assert_kept(lambda: list(Article.objects.filter(pages=3)))


def all_keys(probe):
    """The keys that a fill makes, by filling an empty server."""
    probe.redis.flushall()
    probe.fill(READS["queryset"][0])
    return probe.keys()


def test_eviction_of_any_key_keeps_no_old_result(probe):
    read, _ = READS["queryset"]
    for number, key in enumerate(all_keys(probe)):
        old = probe.fill(read)
        probe.redis.delete(key)
        save_title("Beta %d" % number)
        assert read() != old, "%r was evicted, then the row was saved" % key


def test_eviction_of_any_key_that_another_query_makes_anew_keeps_no_old_result(probe):
    read, _ = READS["queryset"]
    for number, key in enumerate(all_keys(probe)):
        old = probe.fill(read)
        probe.redis.delete(key)
        list(Article.objects.filter(title="title %d" % number))
        save_title("Beta %d" % number)
        assert read() != old, (
            "%r was evicted, another query was cached, then the row was saved" % key
        )


def test_eviction_of_any_key_while_reading_keeps_no_old_result(probe):
    read, once = READS["queryset"]

    def evict_and_save(key, title):
        probe.redis.delete(key)
        save_title(title)

    for number, key in enumerate(all_keys(probe)):
        save_title("Alpha %d" % number)
        with once(lambda key=key, number=number: evict_and_save(key, "Beta %d" % number)):
            read()
        assert read() == ["Beta %d" % number], "%r was evicted while a reader was under way" % key
