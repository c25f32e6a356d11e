"""The maintainers' tools: a module a noun, a module a verb."""
