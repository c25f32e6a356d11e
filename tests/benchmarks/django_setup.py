"""Configures Django for one contender from the process environment, and makes the tables."""

from __future__ import annotations

import datetime as dt
import json
import os
from decimal import Decimal
from typing import Any

CATEGORIES = 12
"""Of which the last two hold one item each: the one that many results depend on, and one that none does."""
ROWS = 3500


def configure() -> str:
    """Set Django up as the environment says and return the contender's kind."""
    import django
    from django.conf import settings

    options: dict[str, Any] = json.loads(os.environ["BENCH"])
    settings.configure(
        SECRET_KEY="bench",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": options["database"],
                "OPTIONS": {
                    "timeout": 30,
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
                },
            }
        },
        **_cache(options["kind"], options["server"]),
        **options["settings"],
    )
    django.setup()
    from django.core.management import call_command

    if not os.path.exists(options["database"]):  # noqa: PTH110 - the same name for all
        call_command("migrate", run_syncdb=True, verbosity=0)
        _fill()
    return str(options["kind"])


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
    from benchmarks.shop.models import Category, Item

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


def _category(number: int) -> int:
    return number + CATEGORIES - 1 if number < 2 else number % (CATEGORIES - 2) + 1
