def heading(text):
    """Return the heading of a label."""
    words = text.split(" ")
    line = " ".join(words)
    return line.capitalize()
