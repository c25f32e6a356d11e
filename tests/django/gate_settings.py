"""Settings of Django's own tests: the databases, and where the cache is on its server and its profile."""

import json
import os

GATE = json.loads(os.environ["GATE"])

DATABASES = GATE["databases"]
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "gate_runner.Runner"

if GATE["cached"]:
    CACHEOPS_REDIS = GATE["server"]
    CACHEOPS_DEGRADE_ON_FAILURE = True  # Rover always runs so
    CACHEOPS = {"*.*": {"ops": "all", "timeout": 600}}
    globals().update(GATE["settings"])
