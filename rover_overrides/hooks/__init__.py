"""The functions that upstream's patched lines call."""
