from larder.shelf import Shelf


def test_second_get_is_a_hit():
    shelf = Shelf()
    shelf.get("jam", lambda: 1)
    assert shelf.get("jam", lambda: 2) == 1, "no hit"
