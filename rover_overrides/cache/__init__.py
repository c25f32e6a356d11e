"""Reading and storing results, under leases and registries."""
