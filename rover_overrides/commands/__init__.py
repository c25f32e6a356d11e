"""The management commands; upstream's modules of the same names import them."""
