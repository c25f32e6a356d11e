"""A fork with a series of five odd patches, and its imported branch, edited by somebody with a name."""

import os
import re
import shlex
import shutil
import subprocess
import sys

from tests.support.local_index import (
    GITCONFIG,
    ROOT,
    CommandResult,
    contents,
    copy_stage,
    index_of_two_releases,
)

TRAILERS = """Id: {id}
Base: {base}
Origin: vendor
Forwarded: no
Last-Update: 2020-02-02
Probes: tests/probes/test_a.py
Drop-When: upstream does it
"""
UNCHANGED = "nothing changed: patches/ is the same to the byte\n  next: nox -s lint -- --write\n"
CRLF = b"one\r\ntwo\r\nthree\r\n"
BINARY = bytes(range(256))

_NOX = """
nox() {
    local verb=$2
    shift 2
    if [ "$1" = -- ]; then shift; fi
    (cd %(tools)s && %(python)s -m scripts --repo %(fork)s "$verb" "$@")
}
set -e
"""


def message(subject, name, body="Because it is needed.", base="1.1"):
    return f"{subject}\n\n{body}\n\n{TRAILERS.format(id=name, base=base)}"


class Work:
    """The work tree of `import`, edited by somebody with a name."""

    def __init__(self, fork):
        self.fork = fork
        self.place = fork.root / ".fork" / "series"

    def git(self, *words):
        return self.fork.git(*words, cwd=self.place)

    def commit(self, text, *words, **files):
        for name, content in files.items():
            path = self.place / "tally" / name.replace("__", ".")
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all", "--force")
        words = words or ("-m", text)
        self.git("commit", "--quiet", "--allow-empty", *words)

    def replace(self, name, old, new):
        path = self.place / "tally" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def titles(self):
        return self.git("log", "--reverse", "--format=%s", "1.1..").splitlines()


def patches(fork):
    return contents(fork.root / "patches")


def hints(done):
    """Return the commands that a refusal ends with."""
    return re.findall(r"^(?:  next|    or)(?:: |, if .*:\n {8})(.*)$", done.stderr, re.MULTILINE)


def paste(fork, line, *, editor="true", ok=0):
    """Run a line as it is printed, in the fork's folder; `editor` changes what git opens."""
    prelude = _NOX % {
        "tools": shlex.quote(str(ROOT)),
        "python": shlex.quote(sys.executable),
        "fork": shlex.quote(str(fork.root)),
    }
    done = subprocess.run(
        ["bash", "-c", prelude + line],
        cwd=fork.root,
        env={**fork.env, "GIT_EDITOR": editor, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ok, done.stdout + done.stderr
    return CommandResult(done.returncode, done.stdout, done.stderr)


def make_exported(stages, folder):
    """Make a fork with a series of five odd patches, all made by `export`."""
    fork = copy_stage(stages / "vendored", folder, index_of_two_releases())
    (fork.home / ".gitconfig").write_text(GITCONFIG)
    fork.run("import")
    work = Work(fork)
    work.replace("__init__.py", "return a + b", "return b + a")
    work.commit(message("Add the other way round", "add"))
    work.replace("__init__.py", "return a * b", "return b * a")
    work.commit(
        message(
            "Größe: 日本, multiply", "multiply", body="Weil es nötig ist: ✓\n\n  indented\n> quoted"
        )
    )
    work.commit(
        message(
            "[tag] Say nothing at all but do it in a subject that is so long that git folds it in a mail",
            "empty",
        )
    )
    work.commit(
        message("Bring odd files", "odd"),
        crlf__py=CRLF,
        binary__bin=BINARY,
        no_newline__txt="no newline",
    )
    work.replace("words.py", "BYE = 'bye'", "BYE = 'good bye'")
    work.commit(message("Say good bye", "bye"))
    done = fork.run("export")
    assert done.stderr.splitlines() == [
        "new: patches/0001-add.patch",
        "new: patches/0002-multiply.patch",
        "new: patches/0003-empty.patch",
        "new: patches/0004-odd.patch",
        "new: patches/0005-bye.patch",
        "changed: patches/series",
    ]
    shutil.rmtree(work.place)
    fork.run("import")
    return fork


def copy_exported(exported, folder, index):
    """Copy the fork, without its imported branch."""
    found = copy_stage(exported.root, folder, index)
    shutil.rmtree(found.root / ".fork" / "series")
    found.home.mkdir(exist_ok=True)
    (found.home / ".gitconfig").write_text(GITCONFIG)
    return found


def copy_work(fork, exported):
    """Give a copy of the fork the work tree that a first `import` made."""
    shutil.copytree(exported.root / ".fork" / "series", fork.root / ".fork" / "series")
    return Work(fork)
