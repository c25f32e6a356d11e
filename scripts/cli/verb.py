"""The class of every verb: its help shows how it is typed, and it takes `--repo` itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scripts.core.repository import Repository

REPO_HELP = "Another fork's repository (default: this folder)."

tree_option = click.option(
    "--tree",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="What `import` made there (default: .fork/series).",
)
"""The option of the verbs that work on the imported tree."""


class _Context(click.Context):
    """Shows a command as a person types it: through nox, or for another repository this module."""

    @property
    def command_path(self) -> str:
        """The words before the command's own options."""
        around = self.parent.params if self.parent else {}
        if around.get("repo", Path()) != Path():
            return f"python -m scripts --repo {around['repo']} {self.info_name}"
        return f"nox -s {self.info_name} --"


class Verb(click.Command):
    """A command of this program, with `--repo` also among its own options."""

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if all(option.name != "repo" for option in self.params):
            self.params = [*self.params, _repo_option()]

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read the words; say where an id belongs that stands without `--patch`."""
        takes_patches = any("--patch" in option.opts for option in self.params)
        if takes_patches:
            context.allow_extra_args = True
        super().parse_args(context, args)
        if takes_patches and context.args:
            ids = " ".join(f"--patch {word}" for word in context.args)
            context.fail(f"an id comes after --patch: {context.command_path} {ids}")
        return context.args


def _repo_option() -> click.Option:
    return click.Option(
        ["--repo"],
        type=click.Path(file_okay=False, path_type=Path),
        expose_value=False,
        callback=_open_repository,
        help=REPO_HELP,
    )


def _open_repository(context: click.Context, _option: click.Parameter, folder: Path | None) -> None:
    """Let the verb work on that folder; without one, it is what the words before it say."""
    if folder is not None:
        context.obj = Repository(folder.resolve())
