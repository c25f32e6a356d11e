"""The command line: its options, and what the commands share."""
