"""The management commands, which upstream's modules of the same names import."""
