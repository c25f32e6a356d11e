"""For those who run the site: the outbox, reclaiming memory, counters and explanations."""
