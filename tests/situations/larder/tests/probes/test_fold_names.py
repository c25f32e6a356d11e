from larder.shelf import Shelf


def test_names_are_sorted_without_their_case():
    shelf = Shelf()
    for name in ("Zander", "apple"):
        shelf.get(name, lambda: 1)
    assert shelf.names() == ["apple", "Zander"]
