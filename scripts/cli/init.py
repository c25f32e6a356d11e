"""`init`: begin a fork of another package."""

from __future__ import annotations

import re
import shlex

import click

from scripts.cli.verb import Verb
from scripts.core.console import info
from scripts.core.errors import Exit
from scripts.core.repository import Repository


def _label(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not re.fullmatch("[a-z][a-z0-9]*", value):
        raise click.BadParameter(f"{value!r} is not a word of small letters and digits")
    return value


@click.command(cls=Verb)
@click.argument("package")
@click.option(
    "--module",
    default="",
    metavar="NAME",
    help="What to import, if the files of the package leave it open.",
)
@click.option(
    "--label",
    default="fork",
    show_default=True,
    callback=_label,
    help="The wheel's version is RELEASE+LABEL.N.",
)
@click.pass_context
def init(context: click.Context, package: str, module: str, label: str) -> Exit:
    """Begin a fork of PACKAGE: write its files, pin its newest releases, and fetch them.

    It looks into the newest release on the index for the module, the requirements and the Python.
    All or nothing: no file that exists is overwritten. The fork gets a copy of these tools, so that
    a clone of it needs nothing else.

    \b
    Examples:
      nox -s init -- humanize --repo ../humanize-fork
      nox -s init -- humanize --repo ../humanize-fork --label acme
    """
    from scripts.init.init import init as begin

    repo: Repository = context.obj
    verbs = {
        name: command.get_short_help_str(90)
        for name, command in context.find_root().command.commands.items()  # type: ignore[attr-defined]
        if not command.hidden and name not in _NOT_FOR_EVERY_FORK
    }
    made = begin(repo, package, verbs, module=module, label=label)
    info(
        f"{repo.root} is a fork of {made.lock.name} {made.lock.locked}: {made.module},"
        f" {made.place}; {len(made.lock.releases)} releases from {made.lock.versions[0]} on,"
        f" tried on Python {made.python}\n"
        f"  next: cd {shlex.quote(str(repo.root))} && nox -s status"
    )
    return Exit.OK


_NOT_FOR_EVERY_FORK = ("chaos", "django")
"""Verbs that need more of a fork than `init` writes."""
