from larder.labels import heading


def test_heading_has_no_tab():
    assert heading("\tbread") == "Bread"
