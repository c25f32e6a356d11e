"""lint: what is wrong with a fork, found without running any of it."""
