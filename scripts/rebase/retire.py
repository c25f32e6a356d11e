"""retire: write a live patch as a retired one, which stays on its base and includes its proof."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.model import Applies, Patch
from scripts.series.apply import TreeBuilder, format_patch
from scripts.series.cherry_pick import pick_or_reset
from scripts.series.override_files import with_package_inits
from scripts.series.patch_file import with_trailers
from scripts.verdicts.retirement import Retirement

HOLDS = "As it was then, it holds what it depended on: "
"""The start of the sentence that names the held patches in a retired patch's message."""


@dataclass(frozen=True)
class RetiredPlace:
    """The place of a patch in the series when it retired, kept in its `Place:` trailer.

    `number` is its file's number. `needed_by` are the patches that depended on it. `holds` are the
    patches whose changes it includes, each as `ID:CHANGE_ID` with the change of that time. If there
    are any, `depends` is what it depended on; otherwise its own `Depends:` lists that.
    """

    number: str = ""
    holds: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = {"holds": self.holds, "depends on": self.depends, "needed by": self.needed_by}
        return "; ".join(
            [
                self.number,
                *(f"{words} {', '.join(names)}" for words, names in parts.items() if names),
            ]
        )

    @classmethod
    def of(cls, patch: Patch) -> RetiredPlace:
        """Return the place that a retired patch's trailer records.

        It is empty for a patch that retired before the trailer existed.
        """
        number, *parts = patch.place.split("; ")
        found = {}
        for part in parts:
            words = next(
                (
                    words
                    for words in ("holds", "depends on", "needed by")
                    if part.startswith(f"{words} ")
                ),
                "",
            )
            found[words] = tuple(part.removeprefix(words).replace(" ", "").split(","))
        return cls(
            number, found.get("holds", ()), found.get("depends on", ()), found.get("needed by", ())
        )


def retired_mail(
    builder: TreeBuilder, patch: Patch, retirement: Retirement, retiring: Collection[str]
) -> bytes:
    """Return the mail of a live patch as a retired one, which includes its modules and its proof.

    It stays on its base for good. A patch that it depends on and that stays live moves to later
    releases, so the retired patch also holds that patch as it is now. `retiring` are the ids of
    all patches that retire. Raises AttentionError if the patch needs one that it does not name.
    """
    base = builder.lock.release(patch.base)
    assert base is not None
    parts = builder.series.with_dependencies(patch)
    own = _held_patches(builder, patch, retiring)
    with builder.git.temporary_worktree(base.commit) as work:
        for part in (part for part in parts if part not in own):
            _commit_patch(builder, work, part, patch)
        start = work.text("rev-parse", "HEAD")
        # The commits from here on become one, with the message and the author of the last.
        for part in own:
            _commit_patch(builder, work, part, patch)
        message = work.run("log", "-1", "--format=%B").stdout.rstrip(b"\n") + b"\n"
        message = _retired_message(builder, message, patch, own, retirement)
        work.run(
            "commit",
            "--quiet",
            "--amend",
            "--allow-empty",
            "--cleanup=verbatim",
            "--file=-",
            stdin=message,
        )
        done = work.text("rev-parse", "HEAD")
        work.run("reset", "--quiet", "--soft", start)
        work.run(
            "commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "--reuse-message", done
        )
        return format_patch(work, "HEAD")


def _held_patches(builder: TreeBuilder, patch: Patch, retiring: Collection[str]) -> list[Patch]:
    """List the patches that a retired patch holds: itself, and those that it needs.

    A patch that it needs and that retires too is left out, with all that this one needs.
    """
    elsewhere = {
        part
        for other in builder.series.with_dependencies(patch)[:-1]
        if other.id in retiring
        for part in builder.series.with_dependencies(other)
    }
    return [part for part in builder.series.with_dependencies(patch) if part not in elsewhere]


def _commit_patch(builder: TreeBuilder, work: Git, part: Patch, patch: Patch) -> None:
    """Commit a patch with its override modules; raises AttentionError if it conflicts."""
    step = pick_or_reset(work, builder.commits(builder.series.active).ids[part.id], part)
    if step.applies is Applies.CONFLICT:
        raise AttentionError(
            f"{patch.id} cannot retire: on {patch.base} it needs a patch "
            f"that its Depends: does not name: {step.detail}",
            hint="add the Depends: trailer (nox -s import, then nox -s export), and rebase again",
        )
    package = builder.repo.config.overrides.package
    assert work.work_tree is not None
    for name in with_package_inits(builder.override_files(part), builder.repo.overrides):
        path = work.work_tree / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((builder.repo.overrides / name).read_bytes())
        # Upstream's own .gitignore may exclude the file.
        work.run("add", "--force", "--", path)
    work.run(
        "commit",
        "--quiet",
        "--amend",
        "--allow-empty",
        "--cleanup=verbatim",
        "--reuse-message=HEAD",
    )


def _retired_message(
    builder: TreeBuilder, message: bytes, patch: Patch, own: Sequence[Patch], retirement: Retirement
) -> bytes:
    """Return the message of a retired patch, with its proof, its place and what it holds."""
    held = [part.id for part in own if part is not patch]
    if held:
        body, gap, trailers = message.rpartition(b"\n\n")
        words = f"{HOLDS}{', '.join(held)}."
        message = body + gap + words.encode() + gap + trailers
    depends = [name for name in patch.depends if name not in held]
    needed_by = tuple(other.id for other in builder.series.active if patch.id in other.depends)
    holds = tuple(
        f"{name}:{change_id(builder.git, builder.commits(builder.series.active).ids[name])}"
        for name in held
    )
    place = RetiredPlace(
        patch.path.name.partition("-")[0], holds, patch.depends if held else (), needed_by
    )
    changes: dict[str, str | None] = {"Depends": ", ".join(depends) or None} if held else {}
    return with_trailers(
        message, changes | {"Place": str(place), "Applied-Upstream": retirement.trailer}
    )


def change_id(git: Git, commit: str) -> str:
    """Return a short id of the lines that a commit removes and adds, whatever their line numbers.

    It is empty for a commit that changes no lines.
    """
    diff = git.run("diff-tree", "-p", "-U0", "--no-renames", f"{commit}^", commit).stdout
    return git.text("patch-id", "--stable", stdin=diff)[:12]
