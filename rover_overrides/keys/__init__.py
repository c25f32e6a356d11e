"""Keys of results: they cover all that decides which Python objects a query returns."""
