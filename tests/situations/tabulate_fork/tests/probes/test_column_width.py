def test_wide_cell_is_wrapped(table):
    assert table([["one two"]], maxcolwidths=[4]).split() == ["one", "two"]
    assert "\n" in table([["one two"]], maxcolwidths=[4])
