"""Code that awaits: `no_invalidation` lasts across it, and an `async def` is cached like a
function.

no_invalidation belonged to a thread: what an async function awaited inside it ran in another thread
and invalidated, and as a decorator it was over before the function began. It belongs to the running
context now. @cached and @cached_as of an async def cached the coroutine, and raised; they await it
and cache its result, with their blocking calls in a thread.

Drop-When: upstream's no_invalidation and decorators work for async code
"""

import asyncio

import pytest
from cacheops import cached, cached_as, no_invalidation
from django.db import connections
from probe_project.models import Article


class Elsewhere:
    """Writes in the thread that awaited calls run in, to the database of this one."""

    def __init__(self):
        self._connection = connections["default"]

    def save(self, pages):
        own = connections["default"]
        connections["default"] = self._connection
        try:
            Article(pk=9, title="Delta", pages=pages).save()
        finally:
            connections["default"] = own


@pytest.fixture
def elsewhere():
    connections["default"].inc_thread_sharing()
    yield Elsewhere()
    connections["default"].dec_thread_sharing()


def pages(number):
    return lambda: list(Article.objects.filter(pages=number).values_list("title", flat=True))


def outcome(call):
    """Run a coroutine; what cacheops raises is a failure like any other."""
    try:
        return asyncio.run(call())
    except TypeError as error:
        raise AssertionError("awaiting raised %r" % error) from error


def test_no_invalidation_lasts_across_await(probe, elsewhere):
    read = pages(2)
    assert probe.fill(read) == ["Beta"]

    async def save_unseen():
        with no_invalidation:
            await asyncio.to_thread(elsewhere.save, 2)

    outcome(save_unseen)
    probe.assert_kept(read)

    async def save():
        await asyncio.to_thread(elsewhere.save, 2)

    Article.objects.filter(pk=9).delete()
    probe.fill(read)
    outcome(save)
    assert probe.assert_dropped(read) == ["Beta", "Delta"]


def test_no_invalidation_decorates_async_functions(probe, elsewhere):
    read = pages(2)
    assert probe.fill(read) == ["Beta"]

    @no_invalidation
    async def save_unseen():
        await asyncio.to_thread(elsewhere.save, 2)

    outcome(save_unseen)
    probe.assert_kept(read)


def test_no_invalidation_stays_in_its_own_task(probe, elsewhere):
    read = pages(2)
    assert probe.fill(read) == ["Beta"]

    async def both():
        inside, saved = asyncio.Event(), asyncio.Event()

        async def hold():
            with no_invalidation:
                inside.set()
                await saved.wait()

        async def save():
            await inside.wait()
            await asyncio.to_thread(elsewhere.save, 2)
            saved.set()

        await asyncio.gather(hold(), save())

    outcome(both)
    assert probe.assert_dropped(read) == ["Beta", "Delta"]


@pytest.mark.parametrize("lock", [False, True])
@pytest.mark.parametrize("keep_fresh", [False, True])
def test_cached_as_caches_async_functions(probe, lock, keep_fresh):
    calls = []

    @cached_as(Article.objects.filter(pages=2), timeout=60, lock=lock, keep_fresh=keep_fresh)
    async def double(number):
        await asyncio.sleep(0)
        calls.append(number)
        return number * 2

    async def twice():
        return [await double(2), await double(2), await double(3)]

    assert outcome(twice) == [4, 4, 6]
    assert calls == [2, 3]
    Article.objects.create(pk=9, title="Delta", pages=2)
    assert outcome(twice) == [4, 4, 6]
    assert calls == [2, 3, 2, 3]


def test_cached_caches_async_functions(probe):
    calls = []

    @cached(timeout=60)
    async def double(number):
        await asyncio.sleep(0)
        calls.append(number)
        return number * 2

    async def twice():
        return [await double(2), await double(2)]

    assert outcome(twice) == [4, 4]
    assert calls == [2]
    double.invalidate(2)
    assert outcome(twice) == [4, 4]
    assert calls == [2, 2]


def test_exception_of_an_async_function_reaches_its_caller(probe):
    @cached_as(Article, timeout=60)
    async def fail():
        raise LookupError("nothing there")

    with pytest.raises(LookupError):
        asyncio.run(fail())
