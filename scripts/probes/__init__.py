"""Run probes: environments, interpreters, servers, and upstream's own test suite."""
