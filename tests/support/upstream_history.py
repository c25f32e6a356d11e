"""A made-up upstream's git history: a commit a release, from the sdists, and what was committed since the last one."""

import subprocess
import tarfile
from pathlib import Path

from scripts.core.git import sealed_environment

CAPITALIZED_LINE = "    return line.capitalize()\n"
STRIPPED_LINE = "    return line.strip().capitalize()\n"
HITS = "            self.hits += 1\n"


class UpstreamHistory:
    """A git repository with a work tree, on branch `main`."""

    def __init__(self, root, sdists, versions):
        self.root = root
        self.git("init", "--quiet", "--initial-branch=main", root)
        for version in versions:
            (archive,) = Path(sdists).glob(f"*-{version}.tar.gz")
            self.git("rm", "-r", "--quiet", "--ignore-unmatch", ".")
            self.unpack(archive)
            self.commit(f"Release {version}")
            self.git("tag", version)

    def git(self, *words):
        """Run git sealed and return what it prints."""
        self.root.mkdir(exist_ok=True)
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=sealed_environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def unpack(self, archive):
        """Lay an sdist's files over the work tree."""
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                if member.isfile():
                    place = self.root / member.name.partition("/")[2]
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(tar.extractfile(member).read())

    def commit(self, subject):
        """Commit the work tree and return the commit's id."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def change(self, subject, name, old, new):
        """Commit one replacement in a file."""
        text = (self.root / name).read_text()
        assert text.count(old) == 1, f"{name} holds {old!r} {text.count(old)} times"
        (self.root / name).write_text(text.replace(old, new))
        return self.commit(subject)

    def unrelated(self, subject):
        """Commit something that no probe sees."""
        name = self.root / "CHANGES"
        name.write_text(f"{name.read_text() if name.exists() else ''}{subject}\n")
        return self.commit(subject)
