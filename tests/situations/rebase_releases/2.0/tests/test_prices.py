from larder.prices import price


def test_currency_comes_first():
    assert price(250).startswith("EUR ")
