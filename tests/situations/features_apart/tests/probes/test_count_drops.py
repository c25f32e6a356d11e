"""Count what is dropped.

Nobody could see how much is thrown away.

Drop-When: upstream counts drops
"""

from larder.shelf import Shelf


def test_drops_are_counted():
    shelf = Shelf()
    shelf.get("jam", lambda: 1)
    assert hasattr(shelf, "drop"), "nothing can be dropped"
    shelf.drop("jam")
    assert getattr(shelf, "drops", None) == 1
