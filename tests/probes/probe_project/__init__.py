"""The small Django project that all probes share."""
