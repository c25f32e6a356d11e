def test_missing_cell_is_a_dash(table):
    assert table([[None, "a"]]).split() == ["-", "a"]


def test_blank_cell_is_a_dash(table):
    assert table([["", "a"]]).split() == ["-", "a"]
