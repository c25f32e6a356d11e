def test_wide_letter_takes_two_columns(table):
    assert table([["\u6f22", "a"], ["bb", "a"]]).split("\n")[0] == "\u6f22  a"
