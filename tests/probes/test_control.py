"""The control probe: what has to work before anything else a cell says is believed."""

from probe_project.models import Article


def second_page():
    return list(Article.objects.filter(pages=2).values_list("title", flat=True))


def test_second_read_is_a_hit(probe):
    assert probe.fill(second_page) == ["Beta"]
    assert probe.keys("*q:*"), "a hit, yet the server holds no result"


def test_save_of_unrelated_row_keeps_result(probe):
    probe.fill(second_page)
    Article(pk=4, title="Delta", pages=4).save()
    probe.assert_kept(second_page)


def test_save_of_matching_row_drops_result(probe):
    probe.fill(second_page)
    Article(pk=4, title="Delta", pages=2).save()
    assert probe.assert_dropped(second_page) == ["Beta", "Delta"]


def test_save_that_moves_row_away_drops_result(probe):
    probe.fill(second_page)
    article = Article.objects.nocache().get(pk=2)
    article.pages = 5
    article.save()
    assert probe.assert_dropped(second_page) == []
