"""The rows that a statement writes, before and after it, and their related rows."""
