"""Everything that upstream does, on a cluster."""

import threading
from io import StringIO

from cacheops import (
    CacheMiss,
    cache,
    cached,
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
from django.db.models import Count
from django.http import HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory
from probe_project.models import Article, Section, Tag
from watch import fill, kept


def titled(**conditions):
    return lambda: list(
        Article.objects.filter(**conditions).order_by("pk").values_list("title", flat=True)
    )


def case_hit_and_drop():
    assert fill(titled(pages=1)) == ["Alpha"]
    assert fill(titled(pages=2)) == ["Beta"]
    article = Article.objects.get(pk=1)
    article.title = "Aleph"
    article.save()
    assert titled(pages=1)() == ["Aleph"]
    assert kept(titled(pages=2))


def case_every_kind_of_read():
    reads = [
        lambda: Article.objects.filter(pages=1).count(),
        lambda: Article.objects.filter(pages=1).exists(),
        lambda: Article.objects.aggregate(all=Count("pk")),
        lambda: Article.objects.get(pk=1).title,
        lambda: [section.pk for section in Section.objects.prefetch_related("articles")],
        titled(title__iexact="alpha"),
        titled(pages__in=range(1000)),
        titled(pages__gt=1),
    ]
    before = [fill(read) for read in reads]
    Article.objects.create(pk=9, title="alpha", slug="x", body="", pages=1)
    assert [read() for read in reads] != before
    assert reads[0]() == 2


def case_joins_over_shards():
    sport, tagged = titled(section__name="Sport"), titled(tags__name="red")
    assert fill(sport) == ["Beta", "Gamma"]
    assert fill(tagged) == []
    Section.objects.filter(pk=2).update(name="Games")
    assert sport() == []
    Article.objects.get(pk=1).tags.add(Tag.objects.get(pk=1))
    assert tagged() == ["Alpha"]


def case_transaction_over_shards():
    reads = [
        titled(pages=1),
        lambda: [s.name for s in Section.objects.filter(pk=1)],
        lambda: [t.name for t in Tag.objects.all()],
    ]
    for read in reads:
        fill(read)
    with transaction.atomic():
        Article.objects.filter(pk=1).update(title="Aleph")
        Section.objects.filter(pk=1).update(name="Olds")
        Tag.objects.create(pk=3, name="green")
    assert [read() for read in reads] == [["Aleph"], ["Olds"], ["red", "blue", "green"]]


def case_cached_as():
    @cached_as(Article.objects.filter(pages=1), Section, timeout=60)
    def computed():
        return Article.objects.nocache().get(pk=1).title

    assert fill(computed) == "Alpha"
    Article.objects.filter(pk=1).update(title="Aleph")
    assert fill(computed) == "Aleph"
    Section.objects.create(pk=7, name="Books")
    assert not kept(computed)


def case_cached_view():
    @cached_view_as(Article, timeout=60)
    def page(request):
        return HttpResponse(Article.objects.nocache().get(pk=1).title)

    def shown():
        return page(RequestFactory().get("/")).content.decode()

    assert fill(shown) == "Alpha"
    Article.objects.filter(pk=1).update(title="Aleph")
    assert shown() == "Aleph"


def case_template_fragments():
    source = "{% load cacheops %}{% cached_as a 60 'as' %}{% for x in a %}{{ x.title }} {% endfor %}{% endcached_as %}"
    simple = "{% load cacheops %}{% cached 60 'plain' %}{{ word }}{% endcached %}"
    engine = Engine(libraries={"cacheops": "cacheops.templatetags.cacheops"})

    def shown():
        return engine.from_string(source).render(Context({"a": Article.objects.order_by("pk")}))

    def plain(word):
        return engine.from_string(simple).render(Context({"word": word}))

    assert fill(shown).split() == ["Alpha", "Beta", "Gamma"]
    Article.objects.filter(pk=1).update(title="Aleph")
    assert shown().split() == ["Aleph", "Beta", "Gamma"]
    assert [plain("one"), plain("two")] == ["one", "one"]
    invalidate_fragment("plain")
    assert plain("two") == "two"


def case_locks():
    computed = []

    @cached_as(Tag, timeout=60, lock=True)
    def slow():
        computed.append(1)
        waiting.wait(1)
        return "done"

    waiting = threading.Event()
    said = []
    threads = [threading.Thread(target=lambda: said.append(slow())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["done"] * 4
    assert computed == [1]


def case_invalidate_obj():
    one, two = titled(pages=1), titled(pages=2)
    fill(one)
    fill(two)
    invalidate_obj(Article.objects.nocache().get(pk=1))
    assert (kept(one), kept(two)) == (False, True)


def case_invalidate_model():
    reads = [
        titled(pages=1),
        titled(section__name="Sport"),
        lambda: list(Section.objects.values_list("pk")),
    ]
    for read in reads:
        fill(read)
    invalidate_model(Article)
    assert [kept(read) for read in reads] == [False, False, True]


def case_invalidate_all():
    reads = [titled(pages=n) for n in range(20)]
    for read in reads:
        fill(read)
    cache.set("simple", 1, timeout=60)
    invalidate_all()
    assert not any(kept(read) for read in reads)
    try:
        cache.get("simple")
    except CacheMiss:
        return
    raise AssertionError("invalidate_all() left something")


def case_invalidate_command():
    fill(titled(pages=1))
    call_command("invalidate", "probe_project.article", stdout=StringIO())
    assert not kept(titled(pages=1))
    fill(titled(pages=1))
    call_command("invalidate", "all", stdout=StringIO())
    assert not kept(titled(pages=1))


def case_simple_cache():
    calls = []

    @cached(timeout=60)
    def double(number):
        calls.append(number)
        return 2 * number

    assert [double(n % 30) for n in range(60)] == [2 * (n % 30) for n in range(60)]
    assert calls == list(range(30))
    double.invalidate(3)
    double(3)
    assert calls == [*range(30), 3]
    cache.set("answer", 42)
    assert cache.get("answer") == 42
    cache.delete("answer")


def case_reaper():
    fill(titled(pages=1))
    reap_conjs()
    call_command("reapconjs", stdout=StringIO())
    assert kept(titled(pages=1))


def case_keys_spread():
    for number in range(60):
        fill(titled(pages=number))
    counts = [
        redis_client.get_redis_connection(node).dbsize() for node in redis_client.get_primaries()
    ]
    assert len(counts) == 3
    assert min(counts) >= 8, counts
