"""Render the report as files: Markdown for a merge request, JUnit for a CI, and one HTML page.

The HTML page needs no network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2

from scripts.core.model import FAULTS, State, Verdict
from scripts.report import presentation
from scripts.report.advice import advise
from scripts.verdicts.aggregate import Report

_FILES = {"markdown": "report.md.j2", "html": "report.html.j2", "junit": "report.xml.j2"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#])")


def render(report: Report, form: str) -> str:
    """Return the report as `markdown`, `html` or `junit`."""
    # Words of probes are no markup: HTML and XML are escaped here, Markdown by its filters.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=form != "markdown",  # noqa: S701 (Markdown has an escape of its own)
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": _plain, "slug": _slug, "md": markdown, "code": _code}
    return environment.get_template(_FILES[form]).render(_template_variables(report))


def _template_variables(report: Report) -> dict[str, Any]:
    """Return the variables for the templates."""
    seen = {cell.verdict for item in report.features for at in item.releases for cell in at.cells}
    seen |= {at.verdict for item in report.features for at in item.releases}
    advice = advise(report)
    remarks = (*report.warnings, *report.notes)
    return {
        "report": report,
        "advice": advice,
        "remarks": [line for line in remarks if line not in advice.text],
        "view": presentation,
        "letters": presentation.LETTERS,
        "legend": [
            (verdict, presentation.LETTERS[verdict], presentation.MEANINGS[verdict])
            for verdict in Verdict
            if verdict in seen
        ],
        "states": [
            (state, [item for item in report.features if item.feature.state is state])
            for state in State
        ],
        "faults": FAULTS,
        "worst_first": [str(verdict) for verdict in Verdict],
    }


def _plain(text: object) -> str:
    """Replace characters that XML cannot contain, such as a colour code in an assertion."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(text))


def _slug(text: object) -> str:
    """Return text as a word for a class or an id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(text))


def markdown(text: object) -> str:
    """Return text on one line, with the characters escaped that Markdown treats as markup."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def _code(text: object) -> str:
    """Return text as a code span that may contain any character, on one line of a table."""
    line = " ".join(str(text).split()).replace("|", "\\|")
    # A code span may contain any run of backticks that differs from its fence.
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or not line else ""
    return f"{fence}{space}{line}{space}{fence}"
