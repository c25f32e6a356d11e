"""Keys of results: all that decides which Python objects come out of a query."""
