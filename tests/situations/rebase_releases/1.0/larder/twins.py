def left():
    """Return the left jar."""
    jar = "plum"
    return jar


def right():
    """Return the right jar."""
    jar = "plum"
    return jar
