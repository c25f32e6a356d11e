"""The maintainers' tools: each module is named after a noun or a command."""
