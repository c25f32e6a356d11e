"""Which patches are enabled, which way upstream works, and warnings: what every other folder may import."""
