from larder.labels import heading


def test_words_keep_their_order():
    assert heading("rye bread") == "Rye bread"
