"""The common base of every pipeline step: domain records, configuration, git, console and files."""
