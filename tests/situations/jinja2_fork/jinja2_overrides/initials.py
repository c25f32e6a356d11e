"""Names, shortened."""


def initials(name):
    """Return the first letter of each word of a name."""
    return "".join(word[0] for word in str(name).split())
