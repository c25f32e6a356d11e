"""The verb `status` and its relatives: which columns to run, in which order, and since when upstream does what a patch does."""
