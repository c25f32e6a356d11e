"""Rover's real history as a situation: a fork that stands at 4.0.7, real releases, real servers, the repository's own probes.

`rover_history/` holds what Rover had then: six patches written on 4.0.7 and the code behind them. Probes, releases and
environments are those of this repository, so nothing of them is copied and what is there is not made again.
`rover_history/resolutions/FROM..TO/PATCH/FILE.txt` is what a person would type into the conflicts of a file, one after the other
with a line `%%` between them, where a line `%upstream` stands for upstream's side; `rover_history/mends/FROM..TO/PATCH.diff` is an edit that no conflict asks for.
"""

import ast
import re
import shutil
import tomllib
from dataclasses import dataclass

import tomli_w

from scripts.core.repository import Repository
from scripts.probes.environments import ReadyEnvironment, _cell_plan
from tests.support.harness import ENVIRONMENTS, PROJECT, SITUATIONS, copy_fork
from tests.support.rebasing import Larder

HISTORY = SITUATIONS / "rover_history"
TRIED = ("py311-django2.2", "py311-django3.2", "py311-django5.2")
CONFLICT = re.compile(
    r"^<<<<<<< [^\n]*\n(.*?)^=======\n.*?^>>>>>>> [^\n]*\n", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Rover(Larder):
    """Rover's fork at some point of its history."""

    @property
    def locked(self):
        """The release on which it stands."""
        return tomllib.loads(self.read("upstream/lock.toml"))["locked"]

    @property
    def live(self):
        """The names in the series."""
        return [line[5:-6] for line in self.read("patches/series").splitlines()]

    @property
    def bases(self):
        """The releases on which the live patches are written."""
        found = [
            re.search(r"^Base: (.*)$", path.read_text(), re.MULTILINE)[1]
            for path in self.root.glob("patches/*.patch")
        ]
        return set(found)

    @property
    def settings(self):
        """The profile's settings by the patch that each stands for."""
        return ast.literal_eval(
            self.read("rover_overrides/profile.py").split(
                "SETTINGS: dict[str, dict[str, object]] = "
            )[1]
        )

    @property
    def proofs(self):
        """The release and the way in which each retired patch became unnecessary."""
        found = {}
        for path in self.root.glob("patches/retired/*.patch"):
            release, how, cells = re.search(
                r"^Applied-Upstream: (.*); (.*); (.*)$", path.read_text(), re.MULTILINE
            ).groups()
            word, target = re.fullmatch(
                r"(\w+), the probes pass bare on (\S+)( with .*)?", how
            ).group(1, 2)
            assert all(cell.startswith(f"{target}@") for cell in cells.split(", ")), (
                f"{path.name} is not proven on {target}: {cells}"
            )
            found[path.name[5:-6]] = (release, word)
        return found

    def advance(self, target):
        """Rebase to a release as a maintainer does; return for each stop the patch and why, in order."""
        way, before, stops = f"{self.locked}..{target}", self.content(), []
        done = self.run("rebase", target)
        while done.code == 20:
            assert self.content() == before, "a rebase that stopped has changed something"
            patch, why = re.search(
                r"^(\S+) (conflicts|is broken)", done.stderr, re.MULTILINE
            ).groups()
            stops.append((patch, why))
            if why == "conflicts":
                self._resolve_all(HISTORY / "resolutions" / way / patch)
            else:
                self.git("apply", "--unidiff-zero", HISTORY / "mends" / way / f"{patch}.diff")
                self.git("commit", "-qa", "--amend", "--no-edit")
            done = self.run("rebase", "--continue")
        assert (done.code, self.locked, self.leftovers()) == (0, target, []), done.stderr
        return stops

    def _resolve_all(self, typed):
        """Type the resolutions of a folder into the conflicts of the work tree."""
        files = self.git("diff", "--name-only", "--diff-filter=U").split()
        for file in files:
            path = self.tree / file
            conflicts = list(CONFLICT.finditer(path.read_text()))
            for conflict, text in zip(
                conflicts, (typed / f"{file}.txt").read_text().split("%%\n"), strict=True
            ):
                resolved = text.replace("%upstream\n", conflict[1])
                path.write_text(path.read_text().replace(conflict[0], resolved))
        self.git("add", *files)


def make_rover(root, releases=None):
    """Make the fork of 4.0.7 beside this repository's releases and environments.

    With `releases`, a dict of environments and specifiers, it is tried there alone, and upstream's own tests are left out.
    """
    shutil.copytree(
        HISTORY, root, ignore=shutil.ignore_patterns("resolutions", "mends", "__pycache__")
    )
    shutil.copyfile(PROJECT / "LICENSE", root / "LICENSE")
    (root / "tests").mkdir()
    for name in ("probes", "suite"):
        (root / "tests" / name).symlink_to(PROJECT / "tests" / name)
    fork = Rover(root)
    fork.write("fork.toml", tomli_w.dumps(_configuration(releases)))
    (root / "upstream").mkdir()
    lock = (PROJECT / "upstream/lock.toml").read_text()
    fork.write(
        "upstream/lock.toml", re.sub(r"^locked = .*$", 'locked = "4.0.7"', lock, flags=re.MULTILINE)
    )
    _share(fork)
    return fork


def _configuration(releases):
    """Return this repository's configuration without what Rover has added since, and without what would only take long."""
    found = tomllib.loads((PROJECT / "fork.toml").read_text())
    found["overrides"]["common"] = ["__init__.py", "profile.py"]
    found["environments"] = [
        item for item in found["environments"] if item["id"] in (releases or TRIED)
    ]
    for item in found["environments"] if releases else ():
        item["releases"] = releases[item["id"]]
    found["suite"] |= {"modes": {"default": {}}, "excused": {}}
    suite = () if releases else ("suite",)
    return {
        name: found[name]
        for name in ("upstream", "overrides", "probes", *suite, "servers", "environments")
    }


def _share(fork):
    """Link the environments of this repository that are made as the fork wants them, and take over its downloads."""
    (fork.root / ENVIRONMENTS).mkdir(parents=True)
    if (PROJECT / ".fork" / "sdists").exists():
        shutil.copytree(PROJECT / ".fork" / "sdists", fork.root / ".fork" / "sdists")
    repo = Repository(fork.root)
    for environment in repo.config.environments:
        link = fork.root / ENVIRONMENTS / environment.id
        link.symlink_to(PROJECT / ENVIRONMENTS / environment.id)
        if not isinstance(_cell_plan(repo, environment).find(), ReadyEnvironment):
            link.unlink()


def copy_rover(template, root):
    """Copy a fork at some point of its history."""
    return Rover(copy_fork(template, root).root)


BROKEN = [("iexact-conditions", "conflicts"), ("iexact-conditions", "is broken")]


def check_7_2(fork, proofs):
    """All is retired with proof but the one patch that is needed, and every verdict is clean."""
    assert (fork.live, fork.bases, fork.proofs) == (["iexact-conditions"], {"7.2"}, proofs)
    assert fork.settings == {
        "text-conditions": {"CACHEOPS_SKIP_FIELDS": ()},
        "stepwise-invalidation": {"CACHEOPS_INSIDEOUT": True},
    }
    done = fork.status()
    assert (done.code, fork.run("lint").code) == (0, 0), done.stderr
    assert done.report["answer"]["text"] == (
        "No: bare django-cacheops 7.2 is not enough; 1 feature stands in the way: iexact-conditions."
    )
