"""Write units out.

Nobody knows what ml is.

Replaced-By: MILLILITRE='millilitres'
Drop-When: upstream writes units out
"""

from larder.volumes import volume


def test_volume_is_written_out():
    assert volume(5) == "5 millilitres"
