"""README's table of patches, generated from the patches themselves so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.core.console import info
from scripts.core.errors import Problem
from scripts.core.model import Feature, Patch, State
from scripts.core.repository import Repository, write_atomically
from scripts.series.series import Series

_START, _END = "<!-- patches -->\n", "<!-- /patches -->\n"


def readme_problems(repo: Repository, series: Series, *, write: bool) -> Iterator[Problem]:
    """Yield that README's table is not the series', or write it; a README may have no markers."""
    wanted = readme_with_table(repo, series)
    path = repo.root / "README.md"
    if wanted is None or path.read_text() == wanted:
        return
    if write:
        write_atomically(path, wanted.encode())
        info("written: README.md, its table of patches")
    else:
        yield Problem(
            "its table is not the one of the patches", "nox -s lint -- --write", "README.md"
        )


def readme_with_table(repo: Repository, series: Series) -> str | None:
    """Return README with the table of these patches, or None if it has no place for one."""
    path = repo.root / "README.md"
    text = path.read_text() if path.exists() else ""
    head, start, rest = text.partition(_START)
    _, end, tail = rest.partition(_END)
    return head + start + "".join(_rows(series)) + end + tail if end else None


def _rows(series: Series) -> Iterator[str]:
    yield (
        "| patch | feature | what it does | hunks: lines | drop it when |\n|---|---|---|---|---|\n"
    )
    for patch in series.all:
        for number, feature in enumerate(series.features_of(patch)):
            name, size = (
                (f"[{patch.id}]({_link(patch)})", f"{len(patch.hunks)}: {patch.lines}")
                if not number
                else ("", "")
            )
            yield (
                f"| {name} | {feature.id}{_state(feature)} | {feature.title} | {size} |"
                f" {feature.drop_when} |\n"
            )


def _link(patch: Patch) -> str:
    folder = "patches/retired" if patch.state is State.RETIRED else "patches"
    return f"{folder}/{patch.path.name}"


def _state(feature: Feature) -> str:
    return f" (retired: {feature.retired_in})" if feature.state is State.RETIRED else ""
