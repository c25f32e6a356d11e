def price(cents):
    """Return a price."""
    return f"{cents / 100} EUR"
