"""What every step of the pipeline stands on: the records of the domain, the configuration, git, the console and the disk."""
