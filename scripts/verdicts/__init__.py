"""From the outcomes of probes to verdicts; nothing in this folder runs a program."""
