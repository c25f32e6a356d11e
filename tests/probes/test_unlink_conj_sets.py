"""An invalidation frees conj keys with UNLINK, so that Redis serves others while a large set goes.

Asserted is what the server ran, inside scripts too. That some servers can be configured to treat DEL like UNLINK is
no property of cacheops. Under INSIDEOUT there are stamps instead of sets, and the same is asked of them.
"""

from cacheops import invalidate_model
from probe_project.models import Article
from probe_project.redis_watch import watching


def second_page():
    return list(Article.objects.filter(pages=2).values_list("title", flat=True))


def invalidators(probe):
    """Return all keys but those of results: what tells which results a write drops."""
    return {key for key in probe.keys() if "q:" not in key}


def assert_unlinked(probe, invalidate):
    before = invalidators(probe)
    assert before, "a cached result, yet nothing on the server that could invalidate it"
    with watching(probe.redis) as commands:
        invalidate()
    freed = before - invalidators(probe)
    assert freed, "the invalidation freed none of them"
    # A key may be moved aside first, its set is freed under the new name then.
    moved = dict(c.args for c in commands if c.name == "RENAME")
    freed = {moved.get(key, key) for key in freed}
    named = {
        name: {key for c in commands if c.name == name for key in c.args}
        for name in ("DEL", "UNLINK")
    }
    assert not freed & named["DEL"], "freed with DEL, which blocks: %s" % sorted(
        freed & named["DEL"]
    )
    assert freed <= named["UNLINK"], "freed by neither DEL nor UNLINK: %s" % sorted(
        freed - named["UNLINK"]
    )


def test_save_unlinks_conj_keys_of_its_row(probe):
    probe.fill(second_page)
    assert_unlinked(probe, Article(pk=4, title="Delta", pages=2).save)
    assert probe.assert_dropped(second_page) == ["Beta", "Delta"]


def test_invalidate_model_unlinks_conj_keys_of_its_table(probe):
    probe.fill(second_page)
    assert_unlinked(probe, lambda: invalidate_model(Article))
    probe.assert_dropped(second_page)
