"""The rows that a statement writes, before and after it, and the rows that they lead to."""
