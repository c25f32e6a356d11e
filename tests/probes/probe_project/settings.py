"""Settings of the probes; what the environment asks for overrides them."""

import ast
import os

SECRET_KEY = "probes"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["cacheops", "probe_project"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

CACHEOPS_REDIS = os.environ["PROBE_SERVER_URL"]
CACHEOPS_DEGRADE_ON_FAILURE = True  # Rover always runs so; cacheops reads it at import
CACHEOPS = {"*.*": {"ops": "all", "timeout": 3600}}

globals().update(ast.literal_eval(os.environ.get("PROBE_SETTINGS", "{}")))
