"""An IN of any length counts as a condition, and a long one costs a hit no more keys than a
short one.

An IN of 8 or more was ignored, so that any save of its table dropped the result. Raising the limit
makes each value one more key to read at each hit. Now a list is one condition, kept once for all
who write: a hit on 1,000 values reads as many keys as one on a single value.

Drop-When: upstream counts a long IN without a key for each value
"""

import pytest
from django.db.models import Q
from django.test import override_settings
from probe_project.models import Article
from probe_project.redis_watch import watching

MANY = 1000


def pks(*args, **conditions):
    return lambda: list(
        Article.objects.filter(*args, **conditions).order_by("pk").values_list("pk", flat=True)
    )


def texts(count):
    return ["text %d" % number for number in range(count)]


@pytest.mark.parametrize("count", [4, 8, 20, MANY])
def test_save_of_value_outside_the_list_keeps_result(probe, count):
    read = pks(pages__in=range(10, 10 + count))
    assert probe.fill(read) == []
    Article(pk=8, title="Delta", pages=9).save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", pages=9 + count).save()
    assert probe.assert_dropped(read) == [9]


def test_save_that_leaves_the_list_drops_result(probe):
    read = pks(title__in=["Alpha", *texts(MANY)])
    assert probe.fill(read) == [1]
    article = Article.objects.nocache().get(pk=1)
    article.title = "Omega"
    article.save()
    assert probe.assert_dropped(read) == []


def test_null_keeps_result_of_list(probe):
    read = pks(subtitle__in=texts(20))
    assert probe.fill(read) == []
    Article(pk=9, title="Delta", subtitle=None).save()
    probe.assert_kept(read)
    Article(pk=8, title="Delta", subtitle="text 19").save()
    assert probe.assert_dropped(read) == [8]


def test_list_of_foreign_keys_counts(probe):
    read = pks(section__in=[1, *range(10, 30)])
    assert probe.fill(read) == [1]
    Article(pk=8, title="Delta", section_id=2).save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", section_id=1).save()
    assert probe.assert_dropped(read) == [1, 9]


def test_list_counts_beside_other_conditions(probe):
    read = pks(title__in=texts(20), pages=7)
    assert probe.fill(read) == []
    Article(pk=7, title="text 1", pages=6).save()
    probe.assert_kept(read)
    Article(pk=8, title="Delta", pages=7).save()
    probe.assert_kept(read)
    Article(pk=9, title="text 1", pages=7).save()
    assert probe.assert_dropped(read) == [9]


def test_list_counts_inside_or(probe):
    read = pks(Q(title__in=texts(20)) | Q(slug="delta"))
    assert probe.fill(read) == []
    Article(pk=7, title="Delta", slug="other").save()
    probe.assert_kept(read)
    Article(pk=8, title="text 0", slug="other").save()
    assert probe.assert_dropped(read) == [8]
    probe.fill(read)
    Article(pk=9, title="Delta", slug="delta").save()
    assert probe.assert_dropped(read) == [8, 9]


def test_hit_on_a_thousand_values_reads_no_more_keys_than_on_twenty(probe):
    def keys_read(read):
        probe.fill(read)
        with watching(probe.redis) as commands:
            read()
        # A client may greet the server anew, and ask who it is.
        return sum(
            len(command.args)
            for command in commands
            if command.name not in {"CLIENT", "HELLO", "INFO"}
        )

    long = pks(title__in=texts(MANY))
    assert keys_read(long) == keys_read(pks(title__in=texts(20)))
    Article(pk=9, title="Delta").save()
    probe.assert_kept(long)


def test_switched_off_it_is_coarser_and_fresh(probe):
    with override_settings(CACHEOPS_ROVER_OFF=("long-in-conditions",)):
        read = pks(pages__in=range(10, 30))
        assert probe.fill(read) == []
        Article(pk=8, title="Delta", pages=9).save()
        probe.assert_dropped(read)
        probe.fill(read)
        Article(pk=9, title="Delta", pages=29).save()
        assert probe.assert_dropped(read) == [9]
