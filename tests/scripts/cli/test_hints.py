"""Commands that the tool, its pages and its documents name: each can be pasted as it stands."""

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from scripts.__main__ import cli

ROOT = Path(__file__).parents[3]
SESSIONS = {
    name.rstrip("_")
    for name in re.findall(
        r"^def (\w+)\(session: nox", (ROOT / "noxfile.py").read_text(), re.MULTILINE
    )
}
TEXTS = [
    *sorted((ROOT / "scripts").rglob("*.py")),
    *sorted((ROOT / "scripts/report/templates").iterdir()),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("*.yml")),
    ROOT / "README.md",
]
OWN_OPTIONS = {"oracle", "bench", "tests", "types", "history"}
"""Sessions that hand their words to another program."""


def commands(text):
    """Yield the session and the options of every `nox -s` in a text."""
    for found in re.finditer(r"nox -s ([a-z]+)( -- [^`\n\"]*)?", text):
        yield found[1], re.findall(r"(?<=\s)--[a-z][a-z-]*", found[2] or "")


def hints():
    """Yield the words of every `hint=` in the code, with what is computed as X."""
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                for part in ast.walk(node.value):
                    if isinstance(part, ast.JoinedStr):
                        yield (
                            path.name,
                            "".join(
                                str(item.value) if isinstance(item, ast.Constant) else "X"
                                for item in part.values
                            ),
                        )
                        break
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield path.name, part.value
                        break


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists_with_its_options(path):
    for session, options in commands(path.read_text()):
        assert session in SESSIONS, session
        if session not in OWN_OPTIONS:
            command = cli.get_command(click.Context(cli), session)
            known = {name for option in command.params for name in option.opts} | {"--help"}
            assert set(options) <= known, (session, options)


@pytest.mark.parametrize(("name", "hint"), sorted(set(hints())))
def test_hint_that_begins_with_a_command_is_nothing_else(name, hint):
    for line in hint.split("\n"):
        if line.startswith(("nox ", "git ", "rm ", "tox ")):
            words = shlex.split(line)
            assert not any(
                word.endswith((",", ";")) or word in {"or", "and", "then", "takes"}
                for word in words
            ), line


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").rglob("*.py")), ids=str)
def test_no_text_names_a_page_that_another_fork_does_not_have(path):
    assert re.findall(r"docs/\S*|\w+/excused\.toml|POLICY\.md", path.read_text()) == []


def test_no_command_is_named_without_the_way_to_call_it():
    for path in (ROOT / "scripts").rglob("*.py"):
        assert (
            re.findall(r"(?<!-)\b(?:status|watch|publish|wheel|lint) --[a-z]+", path.read_text())
            == []
        ), path.name
