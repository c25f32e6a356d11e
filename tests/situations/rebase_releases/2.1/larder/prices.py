def price(cents):
    """Return a price."""
    return f"EUR {cents / 100:.2f}"
