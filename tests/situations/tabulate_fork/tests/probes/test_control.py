def test_cells_stand_in_columns(table):
    assert table([["a", "b"], ["cc", "d"]]) == "a   b\ncc  d"
