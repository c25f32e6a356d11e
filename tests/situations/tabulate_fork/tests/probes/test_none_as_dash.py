def test_none_is_a_dash(table):
    assert table([[None, "a"]]).split() == ["-", "a"]
