from larder.units import weight


def test_weight_is_whole():
    assert weight(1.7) == "2 g"
