"""Run the long checks of the wheel: Django's own tests, and faults."""
