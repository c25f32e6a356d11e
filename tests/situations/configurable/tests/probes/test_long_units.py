from larder.volumes import volume


def test_volume_is_written_out():
    assert volume(5) == "5 millilitres"
