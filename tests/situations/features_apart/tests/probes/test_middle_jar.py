"""Give the middle jar.

It is neither the left one nor the right one.

Drop-When: upstream has a middle jar
"""

import larder.twins


def test_middle_jar_is_there():
    assert hasattr(larder.twins, "middle"), "there is no middle jar"
    assert larder.twins.middle() == "plum"
