"""The series as a branch that a person edits: import it, begin a patch, export it."""
