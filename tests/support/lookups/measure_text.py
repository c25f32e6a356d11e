"""Find on a PostgreSQL whether equality of text counts and stays fresh in the cacheops on the path; a program of its own.

For each column: whether a save of another value keeps the result, and whether one of a value that is equal for the
database, which the result would have to hold, is seen.
"""

import json
import os
import sys

import django
import redis
from django.conf import settings

settings.configure(
    SECRET_KEY="text",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["cacheops"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": os.environ["TEXT_HOST"],
        }
    },
    CACHEOPS_REDIS=os.environ["LOOKUPS_SERVER_URL"],
    CACHEOPS={"*.*": {"ops": "all", "timeout": 3600}},
    **json.loads(os.environ["LOOKUPS_SETTINGS"]),
)
django.setup()

from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402


class Citext(models.TextField):
    def db_type(self, connection):
        return "citext"


COLUMNS = {
    "text": models.TextField(null=True),
    "char": models.CharField(max_length=100, null=True),
    "array": ArrayField(models.TextField(), null=True),
    "data": models.JSONField(null=True),
}
if "extended" in sys.argv:
    COLUMNS["citext"] = Citext(null=True)
    COLUMNS["collated"] = models.CharField(max_length=100, null=True, db_collation="rover_no_case")
CASES = {  # the operand, another value, one that is equal for the database
    "text exact": ("text", {"text": "Prague"}, "Brno", "Prague"),
    "text exact beyond ASCII": ("text", {"text": "Plze\u0148"}, "Brno", "Plze\u0148"),
    "text in": ("text", {"text__in": ["Prague", "Brno"]}, "Oslo", "Brno"),
    "text other case": ("text", {"text": "Prague"}, "PRAGUE", "Prague"),
    "text iexact": ("text", {"text__iexact": "prague"}, "Brno", "PRAGUE"),
    "text iexact dotless": ("text", {"text__iexact": "IZMIR"}, None, "\u0131zm\u0131r"),
    "text contains": ("text", {"text__contains": "rag"}, "RAG", "Prague"),
    "text icontains": ("text", {"text__icontains": "RAG"}, "Brno", "Prague"),
    "char exact": ("char", {"char": "Prague"}, "Brno", "Prague"),
    "array exact": ("array", {"array": ["a", "b"]}, None, ["a", "b"]),
    "array contains": ("array", {"array__contains": ["a"]}, None, ["b", "a"]),
    "array length": ("array", {"array__len": 2}, None, ["x", "y"]),
    "array item": ("array", {"array__0": "a"}, None, ["a"]),
    "json exact": ("data", {"data": {"a": 1}}, None, {"a": 1}),
    "json key": ("data", {"data__a": 1}, None, {"a": 1, "b": 2}),
    "json contains": ("data", {"data__contains": {"a": 1}}, None, {"b": 2, "a": 1}),
    "json null": ("data", {"data__isnull": False}, None, {}),
    "citext exact": ("citext", {"citext": "Prague"}, None, "PRAGUE"),
    "citext in": ("citext", {"citext__in": ["Prague", "Brno"]}, None, "BRNO"),
    "collated exact": ("collated", {"collated": "Prague"}, None, "PRAGUE"),
    "collated isnull": ("collated", {"collated__isnull": False}, None, ""),
}
Note = type(
    "Note",
    (models.Model,),
    {"__module__": "cacheops", **COLUMNS, "Meta": type("Meta", (), {"app_label": "cacheops"})},
)


def is_hit(read):
    with CaptureQueriesContext(connection) as queries:
        read()
    return not queries.captured_queries


def measure(server, column, condition, other, equal):
    Note.objects.nocache().delete()
    server.flushall()
    read = lambda: list(Note.objects.filter(**condition).values_list("pk", flat=True))
    read()
    assert is_hit(read), condition
    kept = None
    if other is not None:
        Note(**{column: other}).save()
        kept = is_hit(read)
        read()
    Note(pk=9, **{column: equal}).save()
    assert list(Note.objects.nocache().filter(**condition).values_list("pk", flat=True)) == [9], (
        condition
    )
    return kept, read() == [9]


def main():
    server = redis.Redis.from_url(os.environ["LOOKUPS_SERVER_URL"])
    with connection.cursor() as cursor:
        if "extended" in sys.argv:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS citext")
            cursor.execute(
                "CREATE COLLATION IF NOT EXISTS rover_no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
        cursor.execute("DROP TABLE IF EXISTS cacheops_note")
    with connection.schema_editor() as editor:
        editor.create_model(Note)
    json.dump(
        {name: measure(server, *case) for name, case in CASES.items() if case[0] in COLUMNS},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
