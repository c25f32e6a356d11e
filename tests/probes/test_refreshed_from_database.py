"""`refresh_from_db()` shows what is in the database, whatever the cache holds.

It might return the cached row, although whoever calls it wants to know what is in the database now:
a row that a trigger or another program changed stayed as it was. A deferred field is loaded from
the database too.

Drop-When: upstream's refresh_from_db() bypasses the cache
"""

import pytest
from cacheops import no_invalidation
from probe_project.models import Article


@pytest.fixture
def stale(probe):
    """Give an object, and have its row changed unseen."""
    read = lambda: Article.objects.get(pk=1)
    assert probe.fill(read).title == "Alpha"
    article = read()
    article.refresh_from_db()  # whatever it caches is in
    with no_invalidation:
        Article.objects.filter(pk=1).update(title="Omega")
    probe.assert_kept(read)
    return article


def test_object_gets_the_row_of_the_database(probe, stale):
    stale.refresh_from_db()
    assert stale.title == "Omega"


def test_field_gets_the_value_of_the_database(probe, stale):
    stale.refresh_from_db(fields=["title"])
    with no_invalidation:
        Article.objects.filter(pk=1).update(title="Psi")
    stale.refresh_from_db(fields=["title"])
    assert stale.title == "Psi"


def test_other_reads_stay_hits(probe, stale):
    stale.refresh_from_db()
    probe.assert_kept(lambda: Article.objects.get(pk=1))
