"""A process of an application on the series: executes Python source from standard input, a line of JSON each, and answers with the outcome."""

import ast
import json
import os
import sys
import warnings

SETTINGS = json.loads(os.environ["APPLICATION_SETTINGS"])
IS_CACHED = SETTINGS.pop("IS_CACHED", True)


def main():
    """Set Django up, then answer until standard input ends."""
    from django.conf import settings

    settings.configure(
        SECRET_KEY="application",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[*(["cacheops"] if IS_CACHED else []), "write_models"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        **SETTINGS,
    )
    import django

    django.setup()
    answers, sys.stdout = sys.stdout, sys.stderr
    names = {"__name__": "application"}
    if IS_CACHED:
        exec("from cacheops import *", names)
    exec(
        "from django.db import connection, models, transaction; from write_models.models import *",
        names,
    )
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line), names), default=repr) + "\n")
        answers.flush()


def answer(source, names):
    """Execute statements; the value is that of the last one, if it is an expression."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if body and isinstance(body[-1], ast.Expr) else None
    value = None
    with (
        CaptureQueriesContext(connection) as queries,
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        try:
            exec(compile(ast.Module(body, []), "application", "exec"), names)
            if last is not None:
                value = eval(compile(last, "application", "eval"), names)
        except Exception as error:
            return {"raised": f"{type(error).__name__}: {error}"}
    return {
        "value": value,
        "queries": [query["sql"] for query in queries],
        "warned": [str(each.message) for each in warned],
    }


if __name__ == "__main__":
    main()
