"""The application's database connections: their state, and the cache's own statements on them."""
