from larder.labels import heading


def test_heading_has_no_space_around_it():
    assert heading(" bread ") == "Bread"


def test_heading_keeps_space_between_words():
    assert heading("rye bread") == "Rye bread"
