"""Find which lookups of Django count in the cacheops on the path, and print that as JSON; run as a program of its own.

A lookup counts where a save of a row that it leaves out keeps the result. What the database says of the row decides.
"""

import datetime as dt
import json
import os
import sys
import uuid
from decimal import Decimal

import django
import redis
from django.conf import settings

settings.configure(
    SECRET_KEY="lookups",
    USE_TZ=True,
    TIME_ZONE="UTC",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["cacheops"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHEOPS_REDIS=os.environ["LOOKUPS_SERVER_URL"],
    CACHEOPS={"*.*": {"ops": "all", "timeout": 3600}},
    **json.loads(os.environ["LOOKUPS_SETTINGS"]),
)
django.setup()

from django.db import DatabaseError, connection, models, transaction  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

NOON, LATE = (
    dt.datetime(2024, 2, 28, 12, 30, 15, tzinfo=dt.UTC),
    dt.datetime(2025, 7, 31, 23, 45, 59, tzinfo=dt.UTC),
)
# By field: how it is made, and values of which most lookups meet some and leave some out; the second is the operand.
FIELDS = {
    "CharField": (models.CharField(max_length=100, null=True), ["Alpha", "Beta", "Gamma", None]),
    "TextField": (models.TextField(null=True), ["Alpha", "Beta", "Gamma", None]),
    "IntegerField": (models.IntegerField(null=True), [1, 2, 3, None]),
    "DecimalField": (
        models.DecimalField(max_digits=8, decimal_places=2, null=True),
        [Decimal(1), Decimal("2.5"), Decimal(3), None],
    ),
    "FloatField": (models.FloatField(null=True), [1.0, 2.5, 3.0, None]),
    "BooleanField": (models.BooleanField(null=True), [True, False, None]),
    "DateField": (
        models.DateField(null=True),
        [NOON.date(), LATE.date(), dt.date(2026, 8, 1), None],
    ),
    "DateTimeField": (models.DateTimeField(null=True), [NOON, LATE, LATE.replace(year=2026), None]),
    "TimeField": (
        models.TimeField(null=True),
        [NOON.time(), dt.time(20, 31, 20), LATE.time(), None],
    ),
    "DurationField": (
        models.DurationField(null=True),
        [dt.timedelta(hours=number) for number in (1, 2, 3)] + [None],
    ),
    "UUIDField": (
        models.UUIDField(null=True),
        [uuid.UUID(int=number * 2**100) for number in (1, 2, 3)] + [None],
    ),
    "GenericIPAddressField": (
        models.GenericIPAddressField(null=True),
        ["10.0.0.1", "10.0.0.2", "::1", None],
    ),
    "JSONField": (models.JSONField(null=True), [{"a": 1}, {"b": 2}, {"c": 3}]),
    "BinaryField": (models.BinaryField(null=True), [b"one", b"two", b"three", None]),
    "FileField": (models.FileField(null=True), ["one.txt", "two.txt", "three.txt"]),
}
PATTERNS = {
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "regex",
    "iregex",
    "iexact",
}
PLACES = ["main table", "foreign key", "reverse relation", "negated", "inside OR"]


def model(name, **more):
    columns = {label.lower(): field.clone() for label, (field, _) in FIELDS.items()}
    return type(
        name,
        (models.Model,),
        {
            "__module__": "cacheops",
            **columns,
            **more,
            "Meta": type("Meta", (), {"app_label": "cacheops"}),
        },
    )


Parent = model("Parent")
Thing = model(
    "Thing",
    mark=models.IntegerField(default=0),
    parent=models.ForeignKey(Parent, models.CASCADE, null=True, related_name="things"),
)
Child = model(
    "Child", thing=models.ForeignKey(Thing, models.CASCADE, null=True, related_name="children")
)
MODELS = [Parent, Thing, Child]


def operand(name, lookup, values):
    """Return what a lookup compares with: the second value, or what is made of it."""
    value = values[1]
    parts = {"date": "date", "time": "time", "iso_year": None, "week": None}
    if lookup in {"in", "range"}:
        return [value, value]
    if lookup == "isnull":
        return True
    if lookup == "iexact" and name in {"CharField", "TextField"}:
        return value.upper()
    if lookup in PATTERNS and name != "JSONField":
        return (
            {"s": "Be", "e": "ta"}.get(lookup.lstrip("i")[0], "et")
            if name in {"CharField", "TextField"}
            else str(value)
        )
    if parts.get(lookup):
        return getattr(value, parts[lookup])()
    if lookup in {"has_key", "has_keys", "has_any_keys"}:
        return "b" if lookup == "has_key" else ["b"]
    computed = {
        "iso_year": lambda: value.isocalendar()[0],
        "week": lambda: value.isocalendar()[1],
        "week_day": lambda: value.isoweekday() % 7 + 1,
        "iso_week_day": lambda: dt.date.isoweekday(value),
        "quarter": lambda: (value.month + 2) // 3,
    }
    return computed[lookup]() if lookup in computed else getattr(value, lookup, value)


def is_hit(read):
    with CaptureQueriesContext(connection) as queries:
        read()
    return not queries.captured_queries


def is_precise(place, field, condition, values, server):
    """Return whether a lookup counts in a place, that the result is stale instead, or None where no value shows it."""
    with transaction.atomic():
        made = [Parent.objects.create(**{field: value}) for value in values]
        met = [
            Parent.objects.nocache().filter(condition("")).filter(pk=parent.pk).exists()
            for parent in made
        ]
        transaction.set_rollback(True)
    wanted = place == "negated"
    outside = next((number for number, meets in enumerate(met) if meets is wanted), None)
    if outside is None:
        return None
    server.flushall()
    for each in reversed(MODELS):
        each.objects.nocache().delete()
    parents = [Parent.objects.create(**{field: value}) for value in values]
    thing = Thing.objects.create()
    server.flushall()
    prefix = {"foreign key": "parent__", "reverse relation": "children__"}.get(place, "")
    found = condition(prefix)
    found = (
        ~found
        if place == "negated"
        else found | models.Q(mark=77)
        if place == "inside OR"
        else found
    )
    read = lambda: list(Thing.objects.filter(found).values_list("pk", flat=True))
    read()
    if not is_hit(read):  # as bare upstream with bytes, whose address it takes into the key
        return False
    value = values[outside]
    if place == "foreign key":
        Thing(parent=parents[outside]).save()
    elif place == "reverse relation":
        Child(thing=thing, **{field: value}).save()
    else:
        Thing(**{field: value}).save()
    kept = is_hit(read)
    return (
        "stale"
        if kept
        and read() != list(Thing.objects.nocache().filter(found).values_list("pk", flat=True))
        else kept
    )


def measure_all():
    server = redis.Redis.from_url(os.environ["LOOKUPS_SERVER_URL"])
    with connection.schema_editor() as editor:
        for each in MODELS:
            editor.create_model(each)
    for name, (_, values) in FIELDS.items():
        field = name.lower()
        for lookup in sorted(
            Thing._meta.get_field(field).get_lookups()
        ):  # a transform stands for its `exact`
            wanted = operand(name, lookup, values)
            condition = lambda prefix: models.Q(**{f"{prefix}{field}__{lookup}": wanted})  # noqa: B023
            try:
                yield (
                    name,
                    lookup,
                    [is_precise(place, field, condition, values, server) for place in PLACES],
                )
            except (DatabaseError, TypeError, ValueError):  # Django or SQLite refuses the query
                yield name, lookup, None


if __name__ == "__main__":
    json.dump(list(measure_all()), sys.stdout)
