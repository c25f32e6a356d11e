"""Archives that would write where they must not, and odd ones that must come out byte for byte."""

import re
import tarfile

import pytest

from scripts.core.errors import EnvironmentFailedError
from scripts.upstream.sdist import newest_time, read_sdist
from tests.support.local_index import MTIME, archive, contents

pytestmark = pytest.mark.slow

TOP = "made_up_tally-1.1"


def entry(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


EVIL = {
    "parent": entry(f"{TOP}/../../escaped"),
    "parent at the top": entry("../escaped"),
    "absolute": entry("/tmp/escaped"),
    "no folder": entry("escaped"),
    "symlink": entry(f"{TOP}/link", tarfile.SYMTYPE, "/etc"),
    "symlink upwards": entry(f"{TOP}/tally/link", tarfile.SYMTYPE, "../../PKG-INFO"),
    "symlink upwards behind a name": entry(
        f"{TOP}/tally/link", tarfile.SYMTYPE, "words/../../PKG-INFO"
    ),
    "symlink to the folder itself": entry(f"{TOP}/tally/link", tarfile.SYMTYPE, ".."),
    "symlink to git": entry(f"{TOP}/link", tarfile.SYMTYPE, ".git/config"),
    "symlink on Windows": entry(f"{TOP}/link", tarfile.SYMTYPE, "..\\PKG-INFO"),
    "hard link": entry(f"{TOP}/link", tarfile.LNKTYPE, "/etc/passwd"),
    "hard link to another top": entry(f"{TOP}/link", tarfile.LNKTYPE, "other/PKG-INFO"),
    "hard link to nothing": entry(f"{TOP}/link", tarfile.LNKTYPE, f"{TOP}/nothing"),
    "fifo": entry(f"{TOP}/pipe", tarfile.FIFOTYPE),
    "device": entry(f"{TOP}/null", tarfile.CHRTYPE),
    "git": entry(f"{TOP}/.git/config"),
    "git in a folder": entry(f"{TOP}/tally/.git/hooks/post-checkout"),
    "git in capitals": entry(f"{TOP}/.GIT/config"),
    "git on Windows": entry(f"{TOP}/git~1/config"),
    "git with a dot": entry(f"{TOP}/.git./config"),
    "empty part": entry(f"{TOP}//escaped"),
    "backslash": entry(f"{TOP}/..\\escaped"),
    "line break": entry(f"{TOP}/a\nb"),
    "two tops": entry("other/escaped"),
    "same path twice": entry(f"{TOP}/PKG-INFO"),
    "file that is a folder": entry(f"{TOP}/PKG-INFO/more"),
}


@pytest.mark.parametrize("evil", EVIL.values(), ids=list(EVIL))
def test_archive_with_a_path_that_leaves_its_folder_is_refused(tmp_path, evil):
    path = tmp_path / f"{TOP}.tar.gz"
    path.write_bytes(archive([(entry(f"{TOP}/PKG-INFO"), b""), (evil, b"")]))
    with pytest.raises(EnvironmentFailedError, match=f"{TOP}.tar.gz (holds|is not )") as error:
        read_sdist(path)
    assert "exclude it in fork.toml: upstream.track = '…,!=VERSION'" in error.value.hint


LINKS = {
    "beside": (entry(f"{TOP}/link", tarfile.SYMTYPE, "PKG-INFO"), ("120000", b"PKG-INFO")),
    "with a dot": (entry(f"{TOP}/link", tarfile.SYMTYPE, "./PKG-INFO"), ("120000", b"./PKG-INFO")),
    "upwards": (
        entry(f"{TOP}/tally/deep/link", tarfile.SYMTYPE, "../../PKG-INFO"),
        ("120000", b"../../PKG-INFO"),
    ),
    "hard": (entry(f"{TOP}/link", tarfile.LNKTYPE, f"{TOP}/PKG-INFO"), ("100644", b"text")),
}


@pytest.mark.parametrize(("link", "expected"), LINKS.values(), ids=list(LINKS))
def test_link_inside_the_folder_is_kept(tmp_path, link, expected):
    path = tmp_path / f"{TOP}.tar.gz"
    path.write_bytes(archive([(entry(f"{TOP}/PKG-INFO"), b"text"), (link, b"")]))
    members = {member.path: (member.mode, member.content) for member in read_sdist(path)}
    assert members == {"PKG-INFO": ("100644", b"text"), link.name.removeprefix(f"{TOP}/"): expected}


def test_release_with_a_link_is_pinned_and_vendored(fork, index):
    link = entry(f"{TOP}/tally/link.py", tarfile.SYMTYPE, "words.py")
    index.add("1.1", archive([(entry(f"{TOP}/tally/words.py"), b"WORDS = 1\n"), (link, b"")]))
    fork.run("pin")
    fork.run("vendor")
    assert (fork.source / "tally" / "link.py").readlink().name == "words.py"
    fork.run("vendor")  # and nothing of it looks edited


def test_release_that_is_refused_can_be_left_out_as_the_message_says(fork, index):
    index.add("1.1", archive([(entry(f"{TOP}/PKG-INFO"), b""), (EVIL["symlink"], b"")]))
    assert "track = '…,!=VERSION'" in fork.run("pin", ok=3).stderr
    path = fork.root / "fork.toml"
    path.write_text(
        re.sub(r'^track = "(.*)"$', r'track = "\1,!=1.1"', path.read_text(), flags=re.MULTILINE)
    )
    fork.run("pin")
    fork.run("vendor")


@pytest.mark.parametrize("evil", ["parent", "symlink", "git"])
def test_pin_refuses_such_an_archive_and_writes_nothing(fork, index, evil):
    file = index.add("1.1", archive([(entry(f"{TOP}/PKG-INFO"), b""), (EVIL[evil], b"x")]))
    before = contents(fork.root)
    done = fork.run("pin", ok=3)
    assert f"{TOP}.tar.gz holds" in done.stderr
    assert "refused" in done.stderr
    after = contents(fork.root)
    assert {name: text for name, text in after.items() if not name.startswith(".fork/")} == before
    assert not any(text == b"x" for text in after.values())
    del index.files[f"{TOP}.tar.gz"]
    assert file.content
    fork.run("pin")


@pytest.mark.parametrize("cut", [0, 10, 60, -1])
def test_truncated_archive_is_refused(tmp_path, cut):
    path = tmp_path / f"{TOP}.tar.gz"
    path.write_bytes(archive([(entry(f"{TOP}/PKG-INFO"), b"text" * 99)])[:cut])
    for read in (read_sdist, newest_time):
        with pytest.raises(EnvironmentFailedError, match="is not a readable archive"):
            read(path)


def test_archive_damaged_in_the_middle_is_refused(tmp_path):
    content = bytearray(archive([(entry(f"{TOP}/PKG-INFO"), bytes(range(256)) * 99)]))
    content[len(content) // 2] ^= 255
    path = tmp_path / f"{TOP}.tar.gz"
    path.write_bytes(content)
    with pytest.raises(EnvironmentFailedError, match="is not a readable archive"):
        read_sdist(path)


@pytest.mark.parametrize(
    ("mtime", "expected"), [(1, MTIME), (MTIME + 5, MTIME + 5), (2**40, 2**32 - 1)]
)
def test_newest_time_is_that_of_the_newest_file_within_what_git_can_write(
    tmp_path, mtime, expected
):
    late = entry(f"{TOP}/late")
    late.mtime = mtime
    path = tmp_path / f"{TOP}.tar.gz"
    path.write_bytes(archive([(entry(f"{TOP}/PKG-INFO"), b""), (late, b"")]))
    assert newest_time(path) == expected


ODD = {
    "tally/ä ö.txt": b"umlauts\n",
    'tally/quote"s.txt': b"quotes\n",
    "tally/tab\t.txt": b"tab\n",
    "tally/日本.txt": b"beyond\n",
    "tally/-dash": b"dash\n",
    "tally/:colon": b"colon\n",
    "tally/trailing ": b"space\n",
    "tally/no_newline": b"no newline",
    "tally/empty": b"",
    "tally/crlf.py": b"one\r\ntwo\r\n",
    "tally/binary": bytes(range(256)),
    "tally/latin\udce9.txt": b"not UTF-8\n",
    "tally/ident.py": b"# $Id$ $Id: 123 $\n",
    "tally/export.txt": b"kept\n",
    "ignored.log": b"hidden by .gitignore\n",
    ".gitignore": b"*.log\ntally/\n",
    ".gitattributes": b"* text=auto eol=crlf ident\ntally/export.txt export-ignore\n*.txt working-tree-encoding=UTF-16\n",
    ".gitmodules": b"[submodule]\n",
    "run.sh": b"#!/bin/sh\n",
}


def test_every_file_comes_out_byte_for_byte_whatever_its_name_and_the_sdists_own_git_files(
    fork, index
):
    members = []
    for name, content in ODD.items():
        info = entry(f"{TOP}/{name}")
        info.mode = 0o775 if name == "run.sh" else 0o600
        members.append((info, content))
    index.add("1.1", archive(members))
    fork.run("pin")
    fork.run("vendor")
    assert fork.files() == ODD
    executable = [
        str(path.relative_to(fork.source))
        for path in fork.source.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o100
    ]
    assert executable == ["run.sh"]
    fork.run("vendor")  # and nothing of it looks edited
