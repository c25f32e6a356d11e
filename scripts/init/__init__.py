"""Begin a fork of another package: look into its releases, and write what a fork needs."""
