"""Settings of the probes; what the environment asks for overrides them."""

import ast
import os
from urllib.parse import parse_qs, urlsplit

SECRET_KEY = "probes"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["cacheops", "probe_project"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
if (
    "PROBE_DATABASE_URL" in os.environ
):  # postgresql://USER@/NAME?host=FOLDER, a database of this run's own
    _url = urlsplit(os.environ["PROBE_DATABASE_URL"])
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.%s" % _url.scheme,
        "NAME": _url.path[1:],
        "USER": _url.username or "",
        "HOST": parse_qs(_url.query)["host"][0],
    }

CACHEOPS_REDIS = os.environ["PROBE_SERVER_URL"]
CACHEOPS_DEGRADE_ON_FAILURE = True  # Rover always runs so; cacheops reads it at import
CACHEOPS_ROVER_COUNTERS_SECONDS = (
    86400  # so that no report is among the commands and keys that a probe counts
)
CACHEOPS = {"*.*": {"ops": "all", "timeout": 3600}}

globals().update(ast.literal_eval(os.environ.get("PROBE_SETTINGS", "{}")))
