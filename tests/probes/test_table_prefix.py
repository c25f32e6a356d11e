"""A prefix made of `query.table` is the same on a read and on a save."""

import pytest
from django.test import override_settings
from probe_project.models import Article, Section


def joined(query):
    return query.table + ":"


def formatted(query):
    return f"{query.table}:"


def listed(query):
    return f"{query.tables}:"


PREFIXES = pytest.mark.parametrize("prefix", [joined, formatted, listed])


def second_page():
    return list(Article.objects.filter(pages=2).order_by("pk").values_list("title", flat=True))


def count():
    return Article.objects.filter(pages=2).count()


def write(operation):
    """Run a save or a delete, for which a prefix that cannot be built is a failure like any other."""
    try:
        operation()
    except TypeError as error:
        raise AssertionError("a write could not build the prefix: %s" % error) from error


@PREFIXES
def test_save_drops_matching_results_alone(probe, prefix):
    with override_settings(CACHEOPS_PREFIX=prefix):
        assert (probe.fill(second_page), probe.fill(count)) == (["Beta"], 1)
        write(Article(pk=4, title="Delta", pages=4).save)
        probe.assert_kept(second_page)
        probe.assert_kept(count)
        write(Article(pk=5, title="Epsilon", pages=2).save)
        assert probe.assert_dropped(second_page) == ["Beta", "Epsilon"]
        assert probe.assert_dropped(count) == 2


@PREFIXES
def test_delete_drops_result(probe, prefix):
    with override_settings(CACHEOPS_PREFIX=prefix):
        assert probe.fill(second_page) == ["Beta"]
        write(Article.objects.nocache().get(pk=2).delete)
        assert probe.assert_dropped(second_page) == []


def test_keys_are_kept_by_table(probe):
    with override_settings(CACHEOPS_PREFIX=joined):
        probe.fill(second_page)
        probe.fill(lambda: list(Section.objects.filter(name="News")))
        write(Section(pk=3, name="Culture").save)
        keys = probe.keys()
    tables = {key.split(":", 1)[0] for key in keys}
    assert tables == {"probe_project_article", "probe_project_section"}
