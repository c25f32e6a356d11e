"""Configures as much of Django as the overrides need: its fields and settings, no tables and no server."""

import django
from django.conf import settings

if not settings.configured:
    settings.configure(USE_TZ=True)
    django.setup()
