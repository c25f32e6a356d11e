"""Show the number of hits.

Nobody could see whether the shelf helps.

Drop-When: upstream counts hits
"""

from larder.shelf import Shelf


def test_hits_are_counted():
    shelf = Shelf()
    shelf.get("jam", lambda: 1)
    shelf.get("jam", lambda: 1)
    assert getattr(shelf, "hits", None) == 1
