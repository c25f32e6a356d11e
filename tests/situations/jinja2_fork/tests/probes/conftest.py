"""Templates as an application renders them; the settings of a column are those of its environment."""

import ast
import os

import markupsafe
import pytest

if not hasattr(markupsafe, "soft_unicode"):  # which old releases import
    markupsafe.soft_unicode = markupsafe.soft_str


@pytest.fixture
def render():
    """Give a function that renders a template, and fails where upstream refuses it."""
    import jinja2

    environment = jinja2.Environment(**ast.literal_eval(os.environ.get("PROBE_SETTINGS", "{}")))

    def rendered(text, **values):
        try:
            return environment.from_string(text).render(**values)
        except jinja2.TemplateError as error:
            raise AssertionError("upstream refuses it: %s" % error) from error

    return rendered
