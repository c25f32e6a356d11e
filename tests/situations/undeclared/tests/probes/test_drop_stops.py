from larder.labels import heading


def test_heading_has_no_full_stop():
    assert heading("bread.") == "Bread"
