"""Configures Django and cacheops from the process environment and makes the tables."""

from __future__ import annotations

import json
import os
from typing import Any


def configure() -> None:
    """Set Django up on the database and the server that the environment names, and create the tables."""
    import django
    from django.conf import settings
    from django.db.backends.signals import connection_created

    database: dict[str, Any] = json.loads(os.environ["ORACLE_DATABASE"])
    if "postgresql" in database["ENGINE"]:
        _create(database)
    settings.configure(
        SECRET_KEY="oracle",
        USE_TZ=True,
        TIME_ZONE="Europe/Paris",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField"
        if "postgresql" in database["ENGINE"]
        else "django.db.models.AutoField",
        DATABASES={"default": database},
        INSTALLED_APPS=["oracle.rover", "cacheops"],
        CACHEOPS_REDIS=os.environ["ORACLE_SERVER"],
        CACHEOPS={"rover.*": {"ops": "all", "timeout": 3600}},
        **json.loads(os.environ.get("ORACLE_SETTINGS", "{}")),
    )
    connection_created.connect(_tune)
    django.setup()
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


def _create(database: dict[str, Any]) -> None:
    import psycopg

    with psycopg.connect(
        host=database["HOST"], user=database["USER"], dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {database['NAME']}")


def _tune(connection: Any, **_: Any) -> None:
    """Let SQLite's readers and its writer work side by side, without waiting for the disk."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=OFF")
