from larder.prices import price


def test_price_has_two_digits():
    assert "2.50" in price(250)
