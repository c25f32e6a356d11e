"""For operators of the site: the outbox, reclaiming memory, and explanations."""
