"""Commands to Redis: one server, a Sentinel's master or a cluster, and what to do when it does not answer."""
