def test_commas_are_text(table):
    assert table([["1,000"], ["2"]]).split() == ["1,000", "2"]
