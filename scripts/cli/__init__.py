"""The command line: options, and what the verbs share."""
