"""`vendor`: what it brings, what it refuses, and that neither a kill nor a full disk nor a second run leaves a mess."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support.local_index import FILES_1_0, FILES_1_1, ROOT, Fork, make_fork, sdist, sdist_name

pytestmark = pytest.mark.slow

KILLS = {
    "before a downloaded file has its name": ("os.rename", ".tar.gz.part"),
    "before the first import": ("subprocess.Popen", "fast-import"),
    "before the commits have names": ("subprocess.Popen", "'update-ref', '--stdin'"),
    "before the files are written": ("subprocess.Popen", "checkout-index"),
    "before upstream/src is decided": ("os.rename", r"tmp-.*\.fork/transaction'"),
    "before upstream/src is in place": ("os.rename", "transaction/0.new"),
}


def expected(files):
    return {name: text.encode() for name, text in files.items()}


def assert_tidy(fork):
    assert sorted(path.name for path in (fork.root / ".fork").iterdir()) == [
        "lock",
        "sdists",
        "upstream.git",
    ]
    assert not list((fork.root / ".fork" / "sdists").glob("*.part"))
    assert fork.git_private("worktree", "list", "--porcelain").count("worktree ") == 1
    assert sorted(path.name for path in fork.lock.parent.iterdir()) == ["lock.toml", "src"]


def test_locked_release_is_brought_and_every_pinned_one_is_in_the_private_repository(pinned):
    pinned.reset_clone()
    done = pinned.run("vendor")
    assert (
        "upstream/src/ is made-up-tally 1.1; 2 releases are here and match their pins"
        in done.stderr
    )
    assert pinned.files() == expected(FILES_1_1)
    assert pinned.git_private("log", "--format=%s", "1.1") == "made-up-tally 1.1\nmade-up-tally 1.0"
    assert_tidy(pinned)


def test_vendor_again_asks_nobody_and_writes_nothing(vendored, index):
    shutil.rmtree(vendored.root / ".fork" / "sdists")
    before = vendored.source.stat().st_ino
    vendored.run("vendor")
    assert index.requests == []
    assert vendored.source.stat().st_ino == before


def test_untouched_folder_follows_the_lock(vendored):
    vendored.run("pin", "1.0")
    vendored.run("vendor")
    assert vendored.files() == expected(FILES_1_0)


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (sdist("1.1", FILES_1_0), "is not the pinned file:\n    pinned: "),
        (sdist("1.1", FILES_1_1)[:100], "is not the pinned file:\n    pinned: "),
    ],
    ids=["tampered", "truncated"],
)
def test_sdist_that_is_not_the_pinned_one_is_refused_even_if_the_index_vouches_for_it(
    pinned, index, served, words
):
    pinned.reset_clone()
    index.add("1.1", served)
    done = pinned.run("vendor", ok=3)
    assert f"{sdist_name('1.1')} from {index.address} {words}" in done.stderr
    assert f"served: {len(served)} bytes" in done.stderr
    assert not (pinned.root / ".fork" / "sdists" / sdist_name("1.1")).exists()
    assert not pinned.source.exists()
    index.add("1.1", FILES_1_1)
    pinned.run("vendor")
    assert pinned.files() == expected(FILES_1_1)


def test_tampered_kept_sdist_is_downloaded_again(pinned, index):
    shutil.rmtree(pinned.root / ".fork" / "upstream.git")
    (pinned.root / ".fork" / "sdists" / sdist_name("1.1")).write_bytes(sdist("1.1", FILES_1_0))
    pinned.run("vendor")
    assert index.downloads == [sdist_name("1.1")]
    assert pinned.files() == expected(FILES_1_1)


def test_every_file_that_the_index_lacks_is_named(pinned, index):
    pinned.reset_clone()
    index.files.clear()
    assert f"has no {sdist_name('1.0')}, {sdist_name('1.1')}" in pinned.run("vendor", ok=3).stderr


@pytest.mark.parametrize("field", ["tree", "commit"])
def test_lock_with_other_ids_than_the_files_give_is_refused(pinned, field):
    pinned.reset_clone()
    lines = [
        f'{field} = "{"0" * 40}"' if line.startswith(f"{field} =") else line
        for line in pinned.lock.read_text().splitlines()
    ]
    pinned.lock.write_text("\n".join(lines))
    assert (
        "pins other tree or commit ids than the files give: 1.0, 1.1"
        in pinned.run("vendor", ok=3).stderr
    )
    assert not pinned.source.exists()


# Edits


def edit(fork):
    (fork.source / "tally" / "words.py").write_text("HELLO = 'mine'\n")
    (fork.source / "tally" / "new.py").write_text("")
    (fork.source / "PKG-INFO").unlink()


def test_edited_added_and_removed_files_are_named(vendored):
    edit(vendored)
    done = vendored.run("vendor", ok=20)
    assert (
        "upstream/src/ is not release 1.1 as it was published; nothing is built from it:"
        in done.stderr
    )
    assert "    D PKG-INFO\n    A tally/new.py\n    M tally/words.py\n" in done.stderr
    assert (
        "next: keep the change as a patch (nox -s import), then nox -s vendor -- --restore"
        in done.stderr
    )
    assert (vendored.source / "tally" / "new.py").exists()


def test_restore_mends_edits(vendored):
    edit(vendored)
    vendored.run("vendor", "--restore")
    assert vendored.files() == expected(FILES_1_1)
    assert_tidy(vendored)


def test_edits_are_kept_and_named_against_the_release_they_were_made_on_when_another_is_locked(
    vendored,
):
    (vendored.source / "PKG-INFO").write_text("mine")
    vendored.run("pin", "1.0")
    done = vendored.run("vendor", ok=20)
    assert (
        "is not release 1.1 as it was published; nothing is built from it:\n    M PKG-INFO\n"
        in done.stderr
    )
    vendored.run("vendor", "--restore")
    assert vendored.files() == expected(FILES_1_0)


def test_executable_bit_is_an_edit(vendored):
    (vendored.source / "PKG-INFO").chmod(0o755)
    assert "    M PKG-INFO\n" in vendored.run("vendor", ok=20).stderr


def test_bytecode_is_no_edit(vendored):
    (vendored.source / "tally" / "__pycache__").mkdir()
    (vendored.source / "tally" / "__pycache__" / "words.cpython-311.pyc").write_bytes(b"")
    vendored.run("vendor")


def test_series_is_imported_from_the_release_not_from_the_edited_folder(vendored):
    edit(vendored)
    vendored.run("import")
    assert (vendored.root / ".fork" / "series" / "tally" / "words.py").read_text() == FILES_1_1[
        "tally/words.py"
    ]


# Kills


@pytest.mark.parametrize(("event", "text"), KILLS.values(), ids=list(KILLS))
def test_kill_leaves_nothing_that_the_next_run_believes(pinned, event, text):
    pinned.reset_clone()
    before = pinned.lock.read_bytes()
    pinned.run_killed_at(event, text, "vendor")
    pinned.run("vendor")
    assert pinned.files() == expected(FILES_1_1)
    assert pinned.lock.read_bytes() == before
    assert_tidy(pinned)


@pytest.mark.parametrize("text", ["transaction/0.old", "transaction/0.new"])
def test_kill_while_edits_are_thrown_away_is_finished_by_the_next_run(vendored, text):
    edit(vendored)
    vendored.run_killed_at("os.rename", text, "vendor", "--restore")
    done = vendored.run("vendor")
    assert "an earlier run was killed while it replaced upstream/src; finished now" in done.stderr
    assert vendored.files() == expected(FILES_1_1)
    assert_tidy(vendored)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("subprocess.Popen", "'update-ref', '--stdin'"),
        ("open", "/upstream/.lock.toml-"),
        ("os.rename", "/upstream/.lock.toml-"),
    ],
)
def test_pin_that_is_killed_leaves_the_old_lock_and_the_next_one_works(pinned, index, event, text):
    before = pinned.lock.read_bytes()
    index.add("2.0", FILES_1_1)
    pinned.run_killed_at(event, text, "pin", "2.0")
    assert pinned.lock.read_bytes() == before
    pinned.run("vendor")
    assert pinned.files() == expected(FILES_1_1)
    assert_tidy(pinned)
    pinned.run("pin", "2.0")
    assert b'locked = "2.0"' in pinned.lock.read_bytes()


def test_locks_and_work_trees_of_a_killed_git_are_forgotten(pinned):
    git_dir = pinned.root / ".fork" / "upstream.git"
    gone = pinned.root / ".fork" / "tmp-work"
    pinned.git_private("worktree", "add", "--quiet", "--detach", str(gone), "1.0")
    pinned.git_private("tag", "--delete", "1.0")
    for name in ("packed-refs.lock", "HEAD.lock", "refs/tags/1.1.lock", "refs/fork/import.lock"):
        (git_dir / name).parent.mkdir(exist_ok=True)
        (git_dir / name).touch()
    pinned.run("vendor")
    assert pinned.files() == expected(FILES_1_1)
    assert_tidy(pinned)


# A full disk


FULL = """
set -eu
mount -t tmpfs -o size=8m none "$1"
cp -a "$2" "$1/fork"
free=$(df --output=avail -k "$1" | tail -n 1)
head -c "$(( (free - $3) * 1024 ))" /dev/zero > "$1/ballast"
shift 3
status=0
"$@" >&2 || status=$?
echo "full: $status"
rm "$RUN_DIR/ballast"
status=0
"$@" >&2 || status=$?
echo "freed: $status"
find "$RUN_DIR/fork/.fork" -maxdepth 1 -printf '%f '
sha256sum "$RUN_DIR/fork/upstream/src/tally/noise" | cut -d ' ' -f 1
"""


def own_mounts():
    command = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(
    not own_mounts(),
    reason="a small disk takes a mount namespace (unshare), which this system does not give",
)
@pytest.mark.parametrize(
    ("stage", "room", "words"),
    [
        ("downloads", 150, f"cannot keep {sdist_name('1.2')}: No space left on device"),
        ("private repository", 150, "`git fast-import "),
        (
            "upstream/src",
            150,
            "`git checkout-index --all --force` ended with 1:\nerror: unable to write file tally/noise",
        ),
    ],
)
def test_full_disk_is_a_clear_error_and_the_next_run_works(tmp_path, index, stage, room, words):
    noise = os.urandom(400_000)
    index.add("1.2", {**FILES_1_1, "tally/noise": noise})
    fork = make_fork(tmp_path, index)
    fork.run("pin")
    if stage == "downloads":
        fork.reset_clone()
    elif stage == "private repository":
        shutil.rmtree(fork.root / ".fork" / "upstream.git")
    disk = tmp_path / "disk"
    disk.mkdir()
    verb = [sys.executable, "-m", "scripts", "--repo", f"{disk}/fork", "vendor"]
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            FULL,
            "sh",
            disk,
            fork.root,
            str(room),
            *verb,
        ],
        cwd=ROOT,
        env={**fork.env, "RUN_DIR": str(disk), "TMPDIR": str(disk)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == ["full: 3", "freed: 0"], done.stderr
    assert sorted(lines[2].split()[:-1]) == [".fork", "lock", "sdists", "upstream.git"]
    assert words in done.stderr
    assert "next: free some disk space" in done.stderr
    assert "Traceback" not in done.stderr


# Two runs


def test_second_run_waits_with_a_message_and_then_works(pinned, index):
    pinned.reset_clone()
    index.may_answer.clear()
    first = started(pinned, "vendor")
    while not index.requests:
        assert first.poll() is None
    second = started(pinned, "vendor")
    line = second.stderr.readline()
    assert line == "another run works on this folder; waiting for it to finish\n"
    index.may_answer.set()
    assert [first.wait(60), second.wait(60)] == [0, 0]
    assert len(index.downloads) == 2
    assert pinned.files() == expected(FILES_1_1)
    assert_tidy(pinned)
    for process in (first, second):
        process.stderr.close()


def started(fork: Fork, *words):
    command = [sys.executable, "-m", "scripts", "--repo", str(fork.root), *words]
    return subprocess.Popen(command, cwd=ROOT, env=fork.env, stderr=subprocess.PIPE, text=True)


# Machines


def test_ids_and_files_are_the_same_on_a_machine_that_is_set_up_against_it(pinned, index, tmp_path):
    right = pinned.lock.read_bytes()
    pinned.reset_clone()
    pinned.lock.unlink()
    hostile = tmp_path / "hostile"
    hooks = hostile / "hooks"
    hooks.mkdir(parents=True)
    for name in ("reference-transaction", "post-checkout", "pre-commit", "post-index-change"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    (hostile / "templates" / "info").mkdir(parents=True)
    (hostile / "templates" / "info" / "exclude").write_text("*\n")
    (hostile / "templates" / "hooks").symlink_to(hooks)
    (hostile / "attributes").write_text("* text eol=crlf ident working-tree-encoding=UTF-16\n")
    (hostile / "excludes").write_text("*\n")
    (hostile / ".gitconfig").write_text(
        f"""[core]
autocrlf = true
eol = crlf
compression = 99
fileMode = false
ignoreCase = true
attributesFile = {hostile}/attributes
excludesFile = {hostile}/excludes
hooksPath = {hooks}
quotePath = true
[init]
templateDir = {hostile}/templates
defaultBranch = odd
defaultObjectFormat = sha256
[user]
useConfigOnly = true
[i18n]
commitEncoding = ISO-8859-1
[commit]
gpgSign = true
[fetch]
fsckObjects = true
[fastimport]
unpackLimit = 0
[safe]
bareRepository = explicit
"""
    )
    env = {
        "HOME": str(hostile),
        "XDG_CONFIG_HOME": str(hostile),
        "GIT_DIR": str(hostile / "no-such.git"),
        "GIT_WORK_TREE": "/",
        "GIT_INDEX_FILE": str(hostile / "index"),
        "GIT_AUTHOR_NAME": "Somebody",
        "GIT_AUTHOR_DATE": "1999-01-01T00:00:00+0900",
        "GIT_COMMITTER_EMAIL": "somebody@example.invalid",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.autocrlf",
        "GIT_CONFIG_VALUE_0": "true",
        "GIT_TEMPLATE_DIR": str(hostile / "templates"),
        "GIT_DEFAULT_HASH": "sha256",
        "GIT_TRACE": "1",
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "POSIX",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    }
    for verb in ("pin", "vendor"):
        pinned.run(verb, env=env, umask=0o077)
    assert pinned.lock.read_bytes() == right
    assert pinned.files() == expected(FILES_1_1)
    pinned.run("vendor")
