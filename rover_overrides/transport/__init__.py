"""Commands to Redis (a server, a Sentinel's master or a cluster), and what to do when they fail."""
