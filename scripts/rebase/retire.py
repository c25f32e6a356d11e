"""retire: write a live patch as a retired one, which stands for ever on its base with the proof in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.model import Applies, Patch
from scripts.series.apply import FORMAT, Workshop
from scripts.series.cherry_pick import pick
from scripts.series.override_files import with_packages
from scripts.series.patch_file import with_trailers
from scripts.verdicts.retirement import Retirement

HOLDS = "As it was then, it holds what it depended on: "
"""How the message of a retired patch begins to name the patches that it holds."""


@dataclass(frozen=True)
class Place:
    """Where a patch stood in the series when it retired: its file's number, what it depended on and who depended on it.

    `holds` are the patches that it holds, each with the id of its change then. Where there are any, `depends` is what it depended
    on, else its own `Depends:` says that.
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
    def of(cls, patch: Patch) -> Place:
        """Read a retired patch's trailer; patches that retired before there was one have none."""
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
    shop: Workshop, patch: Patch, retirement: Retirement, retiring: Collection[str]
) -> bytes:
    """Return a live patch as a retired one that stands for ever: on its base, its modules and its proof in it.

    A patch on which it depends and that stays alive moves on to other releases, so what it was is kept in this one too.
    Raises AttentionError where the patch does not stand on its base without patches that it does not name.
    """
    base = shop.lock.release(patch.base)
    assert base is not None
    parts = shop.series.needed_by(patch)
    own = _held(shop, patch, retiring)
    with shop.git.checkout(base.commit) as work:
        for part in (part for part in parts if part not in own):
            _stand(shop, work, part, patch)
        start = work.text("rev-parse", "HEAD")
        for part in own:
            _stand(shop, work, part, patch)
        message = work.run("log", "-1", "--format=%B").stdout.rstrip(b"\n") + b"\n"
        message = _closed(shop, message, patch, own, retirement)
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
        return work.run("format-patch", *FORMAT, "-1", "--stdout", "HEAD").stdout


def _held(shop: Workshop, patch: Patch, retiring: Collection[str]) -> list[Patch]:
    """List what a retired patch holds: itself, and what it needs that no other retired patch holds."""
    elsewhere = {
        part
        for other in shop.series.needed_by(patch)[:-1]
        if other.id in retiring
        for part in shop.series.needed_by(other)
    }
    return [part for part in shop.series.needed_by(patch) if part not in elsewhere]


def _stand(shop: Workshop, work: Git, part: Patch, patch: Patch) -> None:
    """Commit a patch and its override modules."""
    step = pick(work, shop.commits(shop.series.active).ids[part.id], part)
    if step.applies is Applies.CONFLICT:
        raise AttentionError(
            f"{patch.id} cannot retire: on {patch.base} it needs a patch that its Depends: does not name: {step.detail}",
            hint="add the Depends: trailer (nox -s import, then nox -s export), and rebase again",
        )
    package = shop.repo.config.overrides.package
    assert work.work_tree is not None
    for name in with_packages(shop.override_files(part), shop.repo.overrides):
        path = work.work_tree / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((shop.repo.overrides / name).read_bytes())
        work.run("add", "--force", "--", path)
    work.run(
        "commit",
        "--quiet",
        "--amend",
        "--allow-empty",
        "--cleanup=verbatim",
        "--reuse-message=HEAD",
    )


def _closed(
    shop: Workshop, message: bytes, patch: Patch, own: Sequence[Patch], retirement: Retirement
) -> bytes:
    """Return the message of a retired patch: the proof as a trailer, and which patches it holds."""
    held = [part.id for part in own if part is not patch]
    if held:
        body, gap, trailers = message.rpartition(b"\n\n")
        words = f"{HOLDS}{', '.join(held)}."
        message = body + gap + words.encode() + gap + trailers
    depends = [name for name in patch.depends if name not in held]
    needed_by = tuple(other.id for other in shop.series.active if patch.id in other.depends)
    holds = tuple(
        f"{name}:{change_id(shop.git, shop.commits(shop.series.active).ids[name])}" for name in held
    )
    place = Place(
        patch.path.name.partition("-")[0], holds, patch.depends if held else (), needed_by
    )
    changes: dict[str, str | None] = {"Depends": ", ".join(depends) or None} if held else {}
    return with_trailers(
        message, changes | {"Place": str(place), "Applied-Upstream": retirement.trailer}
    )


def change_id(git: Git, commit: str) -> str:
    """Return a short id of the lines that a commit removes and adds, wherever they stand; empty where there are none."""
    diff = git.run("diff-tree", "-p", "-U0", "--no-renames", f"{commit}^", commit).stdout
    return git.text("patch-id", "--stable", stdin=diff)[:12]
