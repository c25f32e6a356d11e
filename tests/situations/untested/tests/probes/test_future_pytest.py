def test_it_has_come():
    raise AssertionError("not yet")
