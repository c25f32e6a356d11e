"""CACHEOPS_LONG_DISJUNCTION says, at run time, up to which length an IN list counts.

That a longer one does not is nothing that anybody needs.
"""

from django.test import override_settings
from probe_project.models import Article

LENGTH = 20


def low_pages():
    return list(
        Article.objects.filter(pages__in=range(LENGTH))
        .order_by("pk")
        .values_list("title", flat=True)
    )


def assert_counts(probe):
    assert probe.fill(low_pages) == ["Alpha", "Beta", "Gamma"]
    Article(pk=4, title="Delta", pages=LENGTH).save()
    probe.assert_kept(low_pages)
    Article(pk=5, title="Epsilon", pages=LENGTH - 1).save()
    assert probe.assert_dropped(low_pages) == ["Alpha", "Beta", "Gamma", "Epsilon"]


def test_in_list_counts_with_setting_at_100(probe):
    with override_settings(CACHEOPS_LONG_DISJUNCTION=100):
        assert_counts(probe)


def test_in_list_one_shorter_than_setting_counts(probe):
    with override_settings(CACHEOPS_LONG_DISJUNCTION=LENGTH + 1):
        assert_counts(probe)
