def test_digits_are_grouped(table):
    assert table([[1234567]]) == "1_234_567"
