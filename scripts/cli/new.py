"""`new`: begin a patch and its feature from templates."""

from __future__ import annotations

from pathlib import Path

import click

from scripts.cli.verb import Verb, tree_option
from scripts.core.console import info
from scripts.core.errors import Exit
from scripts.core.repository import Repository


@click.command(cls=Verb)
@click.argument("patch_id", metavar="ID")
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="ID",
    help="A feature that the patch brings (default: one, with the patch's id). Repeatable.",
)
@click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="NAME",
    help="A module of the override package, such as cache.locks. Repeatable.",
)
@click.option("--title", default="", metavar="TEXT", help="What the patch does, in one line.")
@tree_option
@click.pass_obj
def new(
    repo: Repository,
    patch_id: str,
    features: tuple[str, ...],
    modules: tuple[str, ...],
    title: str,
    folder: Path | None,
) -> Exit:
    """Begin a patch: its commit message, a probe file for each feature, and override modules.

    Imports the series first if it is not imported yet. A file that exists is kept. What is left to
    write is in angle brackets; `export` and `lint` name what was not replaced. Prints the commands
    that come next.

    \b
    Examples:
      nox -s new -- fold-names
      nox -s new -- fold-names --title 'Sort names without their case' --module sorting
      nox -s new -- names --feature fold-names --feature trim-names
    """
    from scripts.editing.new_patch import begin_patch
    from scripts.series.templates import NewPatch

    asked = NewPatch(patch_id, tuple(dict.fromkeys(features)), modules, title.strip())
    begun = begin_patch(repo, asked, folder)
    for name in begun.written:
        info(f"new: {name}")
    for name in begun.kept:
        info(f"kept, for it was there: {name}")
    info("next:")
    for number, step in enumerate(begun.steps, 1):
        info(f"  {number}. {step.text}:\n       {step.command}")
    return Exit.OK
