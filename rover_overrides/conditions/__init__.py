"""Conditions on rows: their text, and the values in them."""
