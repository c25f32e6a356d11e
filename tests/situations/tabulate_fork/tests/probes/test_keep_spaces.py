def test_cell_keeps_its_indentation(table):
    assert table([["  a", "b"]]) == "  a  b"
