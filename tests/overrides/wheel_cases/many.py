"""However many results there are, no command of any call touches more than a thousand keys or members."""

from io import StringIO

from cacheops import (
    cached_as,
    cached_view_as,
    invalidate_all,
    invalidate_fragment,
    invalidate_model,
    invalidate_obj,
    reap_conjs,
)
from cacheops.redis import redis_client
from django.core.management import call_command
from django.db import transaction
from django.http import HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory
from probe_project.models import Article, Section, Tag
from probe_project.redis_watch import units, watching
from watch import fill

RESULTS = 20_000  # seeded in bulk, each like a result that was stored
MOST = 1000
WHOLE = {"KEYS", "SMEMBERS", "HGETALL", "SORT", "SUNION", "SINTER", "FLUSHALL"}
ELEMENTS = {"LRANGE", "HSCAN", "SSCAN", "ZRANGE"}


def titled(**conditions):
    return lambda: list(
        Article.objects.filter(**conditions).order_by("pk").values_list("title", flat=True)
    )


def seed():
    """Store many results that depend on one condition, and fill the registries with real conditions."""
    for number in range(200):
        titled(pages=2, title__gt=str(number))()
        titled(pages=2, draft=False, pk__gt=number)()
    fill(titled(pages=2))
    (key,) = [
        key
        for key in redis_client.keys("q:*")
        if b"Beta" in redis_client.get(key) and redis_client.strlen(key) < 200
    ][:1]
    value = redis_client.get(key)
    for start in range(0, RESULTS, MOST):
        redis_client.mset({f"q:{number:032x}": value for number in range(start, start + MOST)})
    assert redis_client.dbsize() > RESULTS


def touched(command):
    """Return how many keys or members a command touches, as far as its words tell."""
    words = command.args
    if command.name == "SCAN":
        return int(words[[word.upper() for word in words].index("COUNT") + 1])
    if command.name in ELEMENTS:
        return redis_client.llen(words[0]) if command.name == "LRANGE" else MOST
    return len(words)


def check(call):
    """Run a call and look at every command of it."""
    with watching(redis_client) as ran:
        call()
    ran = [command for command in ran if command.name not in {"INFO", "HELLO", "CLIENT", "SELECT"}]
    assert not WHOLE & {command.name for command in ran}, {command.name for command in ran}
    assert ("FLUSHDB", ()) not in {(command.name, command.args) for command in ran}
    worst = max((sum(map(touched, unit)) for unit in units(ran)), default=0)
    assert worst <= MOST, worst


def save():
    article = Article.objects.nocache().get(pk=2)
    article.title += "!"
    article.save()


def save_many():
    with transaction.atomic():
        for number in range(1500):
            Tag.objects.create(pk=100 + number, name=f"tag {number}")


def case_saves():
    seed()
    list(Tag.objects.filter(name="x"))  # so that each tag drops stamps of its own
    check(save)
    check(save_many)
    check(lambda: Article.objects.filter(pages__gt=0).update(pages=7))
    check(lambda: Article.objects.filter(pk=1).delete())


def case_reads():
    seed()
    check(titled(pages=2))
    check(titled(pages__in=range(5000)))
    check(titled(section__name="Sport", title__iexact="beta"))
    check(Article.objects.count)


def case_explicit_invalidation():
    seed()
    check(lambda: invalidate_obj(Article.objects.nocache().get(pk=2)))
    check(lambda: invalidate_model(Article))
    check(invalidate_all)


def case_reaper_and_reclaim():
    seed()
    save()
    check(reap_conjs)
    seed()
    save()
    check(lambda: call_command("cacheops_reclaim", stdout=StringIO()))


def case_functions_views_and_templates():
    seed()
    engine = Engine(libraries={"cacheops": "cacheops.templatetags.cacheops"})
    source = "{% load cacheops %}{% cached_as a 60 'as' %}x{% endcached_as %}{% cached 60 'plain' %}y{% endcached %}"

    @cached_as(Article, Section, timeout=60, lock=True)
    def computed():
        return "z"

    @cached_view_as(Article, timeout=60)
    def page(request):
        return HttpResponse("page")

    check(computed)
    check(lambda: page(RequestFactory().get("/")))
    check(lambda: engine.from_string(source).render(Context({"a": Article.objects.all()})))
    check(lambda: invalidate_fragment("plain"))
    check(save)


def case_commands_that_tell():
    seed()
    check(lambda: call_command("cacheops_why", "probe_project.Article.2", stdout=StringIO()))
    check(lambda: call_command("cacheops_counters", stdout=StringIO()))
