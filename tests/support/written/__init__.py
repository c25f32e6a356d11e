"""The app whose tables the tests of writes write."""
