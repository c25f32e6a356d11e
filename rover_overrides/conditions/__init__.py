"""Conditions on rows: how they are encoded, and how rows are compared with them."""
