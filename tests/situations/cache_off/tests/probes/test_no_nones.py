from larder.shelf import Shelf


def test_none_is_made_again():
    shelf = Shelf()
    shelf.get("jam", lambda: None)
    assert shelf.get("jam", lambda: 1) == 1
