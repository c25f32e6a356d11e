"""What a process comes to whose cacheops talks to a cluster: for each line the repr of a dict, a word for each kind of call."""

import sys

from cacheops import cache, cached_as, invalidate_all, invalidate_model, invalidate_obj
from django.db import connection
from django.test.utils import CaptureQueriesContext

from probe_project import rows
from probe_project.models import Article


@cached_as(Article.objects.filter(pages=2), timeout=60)
def function():
    return list(Article.objects.nocache().filter(pages=2).values_list("title", flat=True))


@cached_as(Article.objects.filter(pages=3), timeout=60, lock=True)
def locked():
    return list(Article.objects.nocache().filter(pages=3).values_list("title", flat=True))


def row():
    return list(Article.objects.filter(pages=2).values_list("title", flat=True))


def relation():
    return list(
        Article.objects.filter(section__name="Sport", pages=2).values_list("title", flat=True)
    )


def outcome(call, *args):
    """Call, and say in words what it raised, or what it returned."""
    try:
        return call(*args)
    except Exception as error:
        return repr(error)


def second(read):
    """Say whether a second read is a hit."""
    read()
    with CaptureQueriesContext(connection) as queries:
        read()
    return "miss" if queries.captured_queries else "hit"


def after(read, change, expected):
    """Say whether a read that was cached is what it should be after a change."""
    if second(read) != "hit":
        return "never cached"
    change()
    return "fresh" if read() == expected else "stale"


def renaming(title):
    def rename():
        article = Article.objects.nocache().get(pk=2)
        article.title = title
        article.save()

    return rename


def behind(title, invalidate):
    """Change a row so that no handler sees it, then invalidate."""

    def change():
        with connection.cursor() as cursor:
            cursor.execute(
                'UPDATE "%s" SET "title" = \'%s\' WHERE "id" = 2' % (Article._meta.db_table, title)
            )
        invalidate()

    return change


def simple():
    cache.set("a", [1], 60)
    return "hit" if cache.get("a") == [1] else "miss"


def main():
    """Print it as often as it is asked for."""
    rows.create_tables()
    for _ in sys.stdin:
        sys.stdout.write(repr(all_said()) + "\n")
        sys.stdout.flush()


def all_said():
    outcome(rows.recreate)
    reads = {"row": row, "relation": relation, "function": function, "lock": locked}
    said = {name: outcome(second, read) for name, read in reads.items()}
    said["simple"] = outcome(simple)
    for number, name in enumerate(("row", "relation", "function")):
        title = "Title %d" % number
        said[name + " after a save"] = outcome(after, reads[name], renaming(title), [title])
    explicit = {
        "invalidate_obj": lambda: invalidate_obj(Article.objects.nocache().get(pk=2)),
        "invalidate_model": lambda: invalidate_model(Article),
        "invalidate_all": invalidate_all,
    }
    for name, invalidate in explicit.items():
        said[name] = outcome(after, row, behind(name, invalidate), [name])
    return said
