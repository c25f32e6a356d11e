"""Equality on a TextField counts as a condition: a save of other text keeps the result, one of that text drops it."""

import pytest
from probe_project.models import Article


def titles(**conditions):
    return list(Article.objects.filter(**conditions).order_by("pk").values_list("title", flat=True))


def test_save_of_other_text_keeps_result(probe):
    def read():
        return titles(body="First")

    assert probe.fill(read) == ["Alpha"]
    Article(pk=4, title="Delta", body="Fourth").save()
    probe.assert_kept(read)
    Article(pk=5, title="Epsilon", body="First").save()
    assert probe.assert_dropped(read) == ["Alpha", "Epsilon"]


def test_change_of_text_drops_result_of_old_and_new_text(probe):
    def first():
        return titles(body="First")

    def second():
        return titles(body="Second")

    def third():
        return titles(body="Third")

    for read in (first, second, third):
        probe.fill(read)
    article = Article.objects.nocache().get(pk=1)
    article.body = "Second"
    article.save()
    probe.assert_kept(third)
    assert probe.assert_dropped(first) == []
    assert probe.assert_dropped(second) == ["Alpha", "Beta"]


def test_text_in_list_counts(probe):
    def read():
        return titles(body__in=["First", "Second"])

    assert probe.fill(read) == ["Alpha", "Beta"]
    Article(pk=4, title="Delta", body="Fourth").save()
    probe.assert_kept(read)
    Article(pk=5, title="Epsilon", body="Second").save()
    assert probe.assert_dropped(read) == ["Alpha", "Beta", "Epsilon"]


@pytest.mark.parametrize(
    "text", ["", 'two\nlines\tand a "quote"', "na\u00efve \U0001f980", "100% [a-z]* {x} \\"]
)
def test_text_of_any_characters_counts(probe, text):
    def read():
        return titles(body=text)

    assert probe.fill(read) == []
    Article(pk=4, title="Delta", body=text + "!").save()
    probe.assert_kept(read)
    Article(pk=5, title="Epsilon", body=text).save()
    assert probe.assert_dropped(read) == ["Epsilon"]
