"""Analyse a query: on which conditions of which tables its result depends."""
