"""A save knows the row that it replaces, also where another one replaced it a moment before.

Of two saves of one row, 1 to 2 and 2 to 3, the second could read 1 before the first had committed.
A result for 2 that was cached in between then stayed for its whole timeout. The old row is now read
under a lock, in the transaction of its write: FOR UPDATE where the database has it, the write lock
of SQLite.

Code: writes.row_locks
Drop-When: upstream reads the row that a save replaces under a lock
"""

import pytest
from django.db.models.signals import pre_save
from probe_project.models import Article


def pages(number):
    """Return a reader of the titles with so many pages."""
    return lambda: list(
        Article.objects.filter(pages=number).order_by("pk").values_list("title", flat=True)
    )


@pytest.fixture
def just_before():
    """Return what makes a call run once, just before the next save writes: another request that came in between."""
    waiting = []

    def receive(sender, **kwargs):
        if waiting:
            waiting.pop()()

    pre_save.connect(receive, sender=Article)
    yield waiting.append
    pre_save.disconnect(receive, sender=Article)


def test_row_that_another_save_left_behind_is_dropped(probe, just_before):
    one, two, three, other = pages(1), pages(22), pages(33), pages(2)
    for read in (one, three, other):
        probe.fill(read)
    article = Article.objects.nocache().get(pk=1)
    article.pages = 33

    def another_save():
        interloper = Article.objects.nocache().get(pk=1)
        interloper.pages = 22
        interloper.save()
        assert probe.fill(two) == ["Alpha"]

    just_before(another_save)
    article.save()
    assert probe.assert_dropped(two) == []
    assert probe.assert_dropped(three) == ["Alpha"]
    assert one() == []
    probe.assert_kept(other)


def test_update_and_delete_keep_what_they_cannot_have_changed(probe):
    other, left = pages(2), pages(1)
    probe.fill(other)
    probe.fill(left)
    Article.objects.filter(pk=1).update(pages=4)
    probe.assert_kept(other)
    assert probe.assert_dropped(left) == []
    Article.objects.filter(pk=3).delete()
    probe.assert_kept(other)
