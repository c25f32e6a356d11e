def test_rows_stand_as_they_are_given(table):
    assert table([["b"], ["a"]]).split() == ["b", "a"]
