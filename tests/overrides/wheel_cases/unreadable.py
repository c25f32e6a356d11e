"""A stored result that cannot be read is a miss, wherever it is read; the next fill takes its place."""

# ruff: noqa: PLW0108 - a function is decorated anew at each read, as in a view

import asyncio
import sys
import tempfile
import types
import warnings

from cacheops import FileCache, cache, cached, cached_as, cached_view, cached_view_as
from cacheops.redis import redis_client
from cacheops.simple import CacheMiss
from django.db import connection
from django.db.models import Max
from django.http import HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings
from probe_project.models import Article

FILES = FileCache(tempfile.mkdtemp())
calls = []


class Title(str):
    """What the titles of articles are, by the name that a deploy gave it."""

    __slots__ = ()


def deploy(name):
    """Take on the code of a deploy, which has the class in the module `name` and no longer where it was."""
    for old in ("values_old", "values_new"):
        sys.modules.pop(old, None)
    Title.__module__ = name
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].Title = Title


def from_db_value(self, value, expression, connection):
    return Title(value)


def computed():
    calls.append(1)
    return Title("computed")


async def awaited():
    return computed()


def view(request):
    response = HttpResponse("seen")
    response.title = computed()
    return response


def request():
    return RequestFactory().get("/")


READS = {
    "fetch": lambda: [row.title for row in Article.objects.order_by("pk")],
    "fetch under a lock": lambda: [
        row.title for row in Article.objects.filter(pk__gt=1).order_by("pk").cache(lock=True)
    ],
    "get": lambda: Article.objects.get(pk=1).title,
    "first": lambda: Article.objects.order_by("pk").first().title,
    "values": lambda: list(Article.objects.order_by("pk").values_list("title", flat=True)),
    "aggregate": lambda: Article.objects.aggregate(most=Max("title")),
    "cached_as": lambda: cached_as(Article)(computed)(),
    "cached_as under a lock": lambda: cached_as(Article, lock=True, extra="lock")(computed)(),
    "cached_as that is kept fresh": lambda: cached_as(Article, keep_fresh=True, extra="fresh")(
        computed
    )(),
    "cached": lambda: cached(timeout=60)(computed)(),
    "file cache": lambda: FILES.cached(timeout=60)(computed)(),
    "cached_view": lambda: cached_view(timeout=60)(view)(request()).content,
    "cached_view_as": lambda: cached_view_as(Article)(view)(request()).content,
    "async cached": lambda: asyncio.run(cached(timeout=60)(awaited)()),
    "async cached_as": lambda: asyncio.run(cached_as(Article)(awaited)()),
}


def work(read):
    """Return how many statements and calls a read costs."""
    before = len(calls)
    with CaptureQueriesContext(connection) as log:
        read()
    return len(log) + len(calls) - before


class deployed:  # noqa: N801 - used as a function
    """Stores the results of all reads as the new code makes them, and goes on as the old code."""

    def __enter__(self):
        field = Article._meta.get_field("title")
        type(field).from_db_value = from_db_value
        deploy("values_new")
        expected = {name: read() for name, read in READS.items()}
        cache.set("own", Title("own"))
        deploy("values_old")
        return expected

    def __exit__(self, *_):
        del type(Article._meta.get_field("title")).from_db_value


def case_every_read_is_a_miss_and_then_a_hit():
    with deployed() as expected:
        for name, read in READS.items():
            assert read() == expected[name], name
            assert "async" in name or work(read) == 0, name


def case_value_of_the_simple_cache_is_a_miss():
    with deployed():
        try:
            cache.get("own")
        except CacheMiss:
            return
        raise AssertionError("no miss")


def case_what_cannot_be_read_is_counted_and_warned_of_once():
    from rover_overrides.cache import serialization
    from rover_overrides.metrics import counters

    serialization._warned.clear()
    with deployed(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        before = counters._counts["results unreadable"]
        for read in READS.values():
            read()
        assert counters._counts["results unreadable"] - before == len(READS)
    missing_module = "ModuleNotFoundError: No module named 'values_new'"
    assert [str(one.message) for one in warned] == [
        f"A result in the cacheops cache cannot be read here, which makes it a miss: {missing_module}"
    ]


def case_warning_that_the_application_has_raised_breaks_no_read():
    from rover_overrides.cache import serialization

    for name, read in READS.items():
        serialization._warned.clear()
        with deployed() as expected, warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read() == expected[name], name


def case_damaged_fragment_is_rendered_again():
    template = Engine(libraries={"cacheops": "cacheops.templatetags.cacheops"}).from_string(
        "{% load cacheops %}{% cached_as articles None 'as' %}{{ n }}{% endcached_as %}{% cached 60 'plain' %}{{ n }}{% endcached %}"
    )

    def rendered(number):
        return template.render(Context({"articles": Article.objects.all(), "n": number}))

    assert (rendered(1), rendered(2)) == ("11", "11")
    for key in redis_client.keys("*"):
        if key.startswith((b"as:", b"c:")):
            redis_client.set(key, redis_client.get(key)[:-3] + b"\xff\xff\xff")
    assert (rendered(3), rendered(4)) == ("33", "33")


def fail(kind):
    raise kind


class Failing:
    """A value that raises while it is read."""

    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        return fail, (self.kind,)


def case_lack_of_memory_and_an_exit_are_no_misses():
    for kind in (MemoryError, SystemExit, KeyboardInterrupt):
        for decorate in (
            cached(timeout=60, extra=kind.__name__),
            cached_as(Article, extra=kind.__name__),
        ):
            read = decorate(lambda kind=kind: Failing(kind))
            read()
            try:
                read()
            except kind:
                continue
            raise AssertionError(f"no {kind.__name__}")


def case_old_value_is_not_left_where_the_new_one_cannot_be_stored():
    cache.set("own", 1)
    cache.set("own", iter)
    assert cache.get("own") is iter
    cache.set("own", lambda: None)
    try:
        cache.get("own")
    except CacheMiss:
        return
    raise AssertionError("the old value is there")


def case_values_of_the_simple_cache_are_those_of_a_release():
    for store in (cache, FILES):
        with override_settings(CACHEOPS_ROVER_KEY_SALT="one"):
            store.set("own", 1, 60)
            assert store.get("own") == 1
        for salt in ("two", ""):
            with override_settings(CACHEOPS_ROVER_KEY_SALT=salt):
                assert missing(store)
    with override_settings(CACHEOPS_ROVER_KEY_SALT="one"):
        cache.set("own", 1)
        with override_settings(CACHEOPS_ROVER_KEY_SALT="two"):
            cache.delete("own")
        assert missing(cache)


def missing(store):
    try:
        store.get("own")
    except CacheMiss:
        return True
    return False
