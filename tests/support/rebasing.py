"""What the rebase's situations share: a fork that stands on 1.1, patches made by import and export, and bytes to compare."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support import harness
from tests.support.harness import SITUATIONS, Fork, copy_fork, make_fork
from tests.support.local_index import serving

TRIED = ("cache_off", "absorbed", "configurable", "conflict", "broken")
RESOLVED = '    return f"EUR {cents / 100:.2f}"\n'
_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Rover"), ("EMAIL", "r@rover"))
    },
}
_TRAILERS = "Origin: vendor\nForwarded: no\nLast-Update: 2026-11-24\nDrop-When: upstream does it\n"


@dataclass(frozen=True)
class Larder(Fork):
    """A fork in the middle of its life."""

    @property
    def tree(self):
        """The work tree of a rebase under way."""
        return self.root / ".fork" / "rebase" / "tree"

    def git(self, *words, at=None):
        """Run git as a person would, in the rebase's work tree or elsewhere."""
        command = ["git", *words]
        return subprocess.run(
            command,
            cwd=at or self.tree,
            env=os.environ | _GIT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def patch(self, name, edits, probe=None, modules=None, **trailers):
        """Add a patch: replace texts in upstream's files, on top of the series, through import and export."""
        for module, text in (modules or {}).items():
            (self.root / "larder_overrides" / f"{module}.py").write_text(text)
            trailers["Overrides"] = ", ".join(modules)
        path = trailers.pop("Probes", f"tests/probes/test_{name.replace('-', '_')}.py")
        if probe:
            self.write(path, probe)
        words = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in trailers.items())
        message = (
            f"{name}\n\nFor a test.\n\nId: {name}\nBase: 1.1\nProbes: {path}\n{words}{_TRAILERS}"
        )
        place = self.root / ".fork" / "series"
        self._must("import") if not modules else self._import_despite(modules)
        for file, old, new in edits:
            text = (place / file).read_text()
            assert text.count(old) == 1, (file, old)
            (place / file).write_text(text.replace(old, new))
        self.git("commit", "-aqm", message, at=place)
        self._must("export")
        shutil.rmtree(place)

    def _import_despite(self, modules):
        """Import while modules that no patch names yet wait outside."""
        kept = {module: self.read(f"larder_overrides/{module}.py") for module in modules}
        for module in modules:
            (self.root / "larder_overrides" / f"{module}.py").unlink()
        self._must("import")
        for module, text in kept.items():
            self.write(f"larder_overrides/{module}.py", text)

    def _must(self, *words):
        done = self.run(*words)
        assert done.code == 0, done.stderr
        return done

    def resolve(self, file="larder/prices.py", old=None, new=RESOLVED):
        """Resolve a conflict in the work tree: the marked part becomes `new`."""
        path = self.tree / file
        head, _, rest = path.read_text().partition("<<<<<<< ")
        tail = rest.partition(">>>>>>> ")[2].partition("\n")[2]
        path.write_text(head + new + tail)
        self.git("add", file)

    def content(self):
        """Return every file of the repository but what can be made again, with its mode."""
        return content_of(self.root)

    def leftovers(self):
        """List what a finished or aborted rebase must not leave."""
        worktrees = self.root / ".fork" / "upstream.git" / "worktrees"
        found = [str(path.relative_to(self.root)) for path in (self.root / ".fork").glob("rebase*")]
        found += [f"worktree {path.name}" for path in worktrees.glob("*")]
        return found + [
            path.name for path in (self.root / ".fork").glob("t*") if path.name != "trees"
        ]


def content_of(root):
    """Return the bytes and modes of a folder's files, `.fork/` and byte code apart."""
    found = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if parts[0] in {".fork", ".git"} or "__pycache__" in parts or path.is_dir():
            continue
        found["/".join(parts)] = (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else os.readlink(path),
        )
    return found


def larder_releases(folder, *names):
    """Return the larder's releases of these names, with what the rebase's situations add."""
    joined = folder / "releases"
    if not joined.exists():
        for source in ("larder_releases", "rebase_releases"):
            shutil.copytree(SITUATIONS / source, joined, dirs_exist_ok=True)
    index = harness.index_of_releases(joined, "made_up_larder")
    index.files = {
        name: file
        for name, file in index.files.items()
        if name.endswith(tuple(f"-{item}.tar.gz" for item in names))
    }
    return index


def run_with(index, fork, *words, **env):
    """Run the command line with an index at hand."""
    with serving(index):
        return fork.run(*words, PIP_INDEX_URL=index.address, NO_PROXY="127.0.0.1", **env)


def make_old_larder(folder):
    """Make a fork that stands on 1.1, with 2.0 pinned, and let every situation's patch run once on bare upstream."""
    fork = Larder(folder / "fork")
    make_fork(SITUATIONS / "larder", fork.root)
    fork.write("README.md", "# Larder\n\n<!-- patches -->\n<!-- /patches -->\n")
    done = run_with(larder_releases(folder, "1.0", "1.1", "2.0"), fork, "pin", "1.1")
    assert done.code == 0, done.stderr
    for words in (("lint", "--write"), ("vendor",)):
        done = fork.run(*words)
        assert done.code == 0, done.stderr
    trial = Larder(folder / "trial")
    shutil.copytree(fork.root, trial.root, symlinks=True)
    for situation in TRIED:
        trial.apply_situation(situation)
    assert trial.run("status").code == 20
    for name in ("results", "trees", "environments"):
        place = fork.root / ".fork" / name
        shutil.copytree(trial.root / ".fork" / name, place, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(trial.root)


def copy_larder(template, root):
    """Copy a fork."""
    return Larder(copy_fork(template, Path(root)).root)


def rebase(fork, *words):
    """Rebase to 2.0, which must work."""
    done = fork.run("rebase", *(words or ["2.0"]))
    assert done.code == 0, done.stderr
    return done


def retired_patch_text(fork, name):
    """Return the text of the retired patch."""
    (path,) = (fork.root / "patches" / "retired").glob(f"????-{name}.patch")
    return path.read_text()


def live_patch_names(fork):
    """Return the names in the series, without their numbers."""
    return [line[5:-6] for line in fork.read("patches/series").splitlines()]


def refused_rebase(fork, *words, code=20):
    """Run a verb that must refuse, without touching anything."""
    before = fork.content()
    done = fork.run("rebase", *words)
    assert (done.code, fork.content()) == (code, before), done.stderr
    return done.stderr
