"""`forward`: a patch as a branch and a pull request for upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts.cli.verb import Verb
from scripts.core.console import info
from scripts.core.errors import Exit
from scripts.core.repository import Repository

if TYPE_CHECKING:
    from scripts.forward.forward import ForwardedPatch


@click.command(cls=Verb)
@click.argument("patch_id", metavar="ID")
@click.argument("source", required=False)
@click.option(
    "--continue",
    "resume",
    is_flag=True,
    help="Go on from the branch as it is, after a conflict or an edit there.",
)
@click.option(
    "--sent",
    "address",
    metavar="ADDRESS",
    help="Record the address of the pull request in the patch, and do nothing else.",
)
@click.pass_obj
def forward(
    repo: Repository, patch_id: str, source: str | None, resume: bool, address: str | None
) -> Exit:
    """Write a patch as upstream would take it: a branch in .fork/forward/ID with the change and a
    test, on upstream's newest commit, and the text of a pull request in .fork/forward/ID.md.

    SOURCE is a pinned release, path:DIR or git:URL@REF (default: the first git source of
    upstream.watch in fork.toml, else the locked release). Override modules become modules of
    upstream, or it says what is in the way. The test is that in tests/forward/ID: it must fail
    without the change and pass with it. Upstream's own tests run with and without the change.
    Exits with 20 if anything of this fails. Nothing is sent.

    \b
    Examples:
      nox -s forward -- sql-objects
      nox -s forward -- sql-objects git:../cacheops@master
      nox -s forward -- sql-objects --continue                   after a conflict or an edit
      nox -s forward -- sql-objects --sent https://github.com/...
    """
    from scripts.forward.forward import forward as run
    from scripts.forward.sent import record_sent

    if address is not None:
        if source or resume:
            raise click.UsageError("--sent takes only the ID")
        changed = record_sent(repo, patch_id, address)
        info("recorded" if changed else "it is recorded already: nothing changed")
        return Exit.OK
    if source and resume:
        raise click.UsageError("--continue goes on from the SOURCE that the branch begins at")
    _print(repo, run(repo, patch_id, source, resume=resume))
    return Exit.OK


def _print(repo: Repository, made: ForwardedPatch) -> None:
    """Print where the branch and the text are, what was seen, and what comes next."""
    from scripts.forward.work_tree import shown

    for line in made.lines:
        info(line)
    there, name = shown(repo, made.place), made.patch.id
    click.echo(f"branch {name} in {there}\ntext {shown(repo, made.text)}")
    take = (
        f"git -C {there} push YOUR-REPOSITORY {name}"
        if made.source.location
        else f"git fetch {there} {name} && git cherry-pick FETCH_HEAD   (in your clone of upstream)"
    )
    info(
        f"next: git -C {there} show\n"
        f"  then: {take}\n"
        "  then: open a pull request with the text\n"
        f"  then: nox -s forward -- {name} --sent ADDRESS"
    )
