"""A Django app for the tests of writes."""
