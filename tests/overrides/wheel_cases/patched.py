"""Django's classes are patched by the application, as is usual before the first query."""

from django.db.models.sql.datastructures import BaseTable
from probe_project.models import Article

from rover_overrides.hooks import shape_keys


def case_sql_of_a_patched_class_is_compiled_each_time():
    tenants = ["a"]

    def of_tenant(self, compiler, connection):
        sql, params = as_sql(self, compiler, connection)
        return f"{sql} /* {tenants[-1]} */", params

    as_sql, BaseTable.as_sql = BaseTable.as_sql, of_tenant
    found = set()
    for tenant in ("a", "b"):
        tenants.append(tenant)
        for _ in range(2):
            found.add(shape_keys.result_key(Article.objects.filter(title="a"), is_read=False))
    assert len(found) == 2
