"""Configures Django for one contender from the process environment, and makes the tables."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import types
from decimal import Decimal
from typing import Any

CATEGORIES = 12
"""Of which the last two hold one item each: the one that many results depend on, and one that none does."""
ROWS = 3500
VISITS = 100_000


def server() -> str:
    """Return the address of the contender's part of the cache's server."""
    return str(_options()["server"])


def _options() -> dict[str, Any]:
    return dict(json.loads(os.environ["BENCH"]))


def configure() -> str:
    """Set Django up as the environment says and return the contender's kind."""
    import django

    options = _options()
    # A module, as a site has it: settings that are not set cost more after `settings.configure()`.
    module = types.ModuleType("bench_settings")
    vars(module).update(
        SECRET_KEY="bench",
        ALLOWED_HOSTS=["testserver"],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
        DATABASES={"default": options["database"]},
        **_cache(options["kind"], options["server"]),
        **options["settings"],
    )
    sys.modules[module.__name__] = module
    os.environ["DJANGO_SETTINGS_MODULE"] = module.__name__
    django.setup()
    _create_database(options["database"])
    return str(options["kind"])


def _create_database(database: dict[str, Any]) -> None:
    """Make the database and its rows, unless an earlier process of the contender has."""
    if database["ENGINE"].endswith("postgresql"):
        if not _create_on_postgresql(database):
            return
    elif os.path.exists(database["NAME"]):  # noqa: PTH110 - the same name for all
        return
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    _fill()


def _create_on_postgresql(database: dict[str, Any]) -> bool:
    """Create the database, and return False where it exists."""
    import psycopg

    name, place = database["NAME"], {"host": database["HOST"], "user": database["USER"]}
    with psycopg.connect(dbname="postgres", autocommit=True, **place) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return False
        connection.execute(f"CREATE DATABASE {name}")
    return True


def _cache(kind: str, server: str) -> dict[str, Any]:
    if kind == "cacheops":
        profile = {"shop.*": {"ops": "all", "timeout": 3600}}
        return {
            "INSTALLED_APPS": ["benchmarks.shop", "cacheops"],
            "CACHEOPS_REDIS": server,
            "CACHEOPS": profile,
        }
    if kind == "cachalot":
        caches = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": server,
                "TIMEOUT": 3600,
            }
        }
        return {"INSTALLED_APPS": ["benchmarks.shop", "cachalot"], "CACHES": caches}
    return {"INSTALLED_APPS": ["benchmarks.shop"]}


def _fill() -> None:
    from benchmarks.shop.models import Category, Item, Post, Visit
    from django.db import connection

    Category.objects.bulk_create([Category(pk=n + 1, name=f"c{n}") for n in range(CATEGORIES)])
    made = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    Item.objects.bulk_create(
        [
            Item(
                pk=n + 1,
                title=f"t{n}",
                slug=f"s{n}",
                rank=n % 100,
                price=Decimal(n),
                made=made,
                category_id=_category(n),
            )
            for n in range(ROWS)
        ]
    )
    Post.objects.bulk_create(
        [
            Post(pk=n + 1, title=f"t{n}", text=(f"{n} " * 100)[:200], category_id=_category(n))
            for n in range(ROWS)
        ]
    )
    # One statement of the database: a hundred thousand objects would take most of a quick run.
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(Visit._meta.db_table)
        cursor.execute(
            f"INSERT INTO {table} (seconds, item_id) {numbers}SELECT i %% 1000, 1 + i %% %s FROM n",
            [VISITS, ROWS],
        )


def _category(number: int) -> int:
    return number + CATEGORIES - 1 if number < 2 else number % (CATEGORIES - 2) + 1
