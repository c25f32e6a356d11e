"""Turn the outcomes of probes into verdicts; nothing in this folder runs a program."""
