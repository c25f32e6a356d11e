"""Equality of text counts on a real PostgreSQL, and what its columns compare in their own way stays fresh."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lookups import lookups_page
from tests.support.postgresql import postgresql, served_by

pytestmark = pytest.mark.slow

TEXT = Path(lookups_page.__file__).with_name("measure_text.py")
COUNT = [
    "text exact",
    "text exact beyond ASCII",
    "text in",
    "text other case",
    "text iexact",
    "text contains",
    "text icontains",
    "char exact",
]


def contributed():
    """Return the programs of a PostgreSQL on PATH that has citext and collations of ICU, or why there are none."""
    config = shutil.which("pg_config")
    if config is None:
        return None, "no PostgreSQL is on PATH"
    say = lambda option: subprocess.run(
        [config, option], capture_output=True, text=True, check=True
    ).stdout.strip()
    programs = Path(say("--bindir"))
    if not (programs / "initdb").exists():
        return None, f"{programs} has no server"
    if not Path(say("--sharedir"), "extension", "citext.control").exists() or "with-icu" not in say(
        "--configure"
    ):
        return None, "the PostgreSQL on PATH has no citext or no ICU"
    return programs, ""


PROGRAMS, REASON = contributed()


@pytest.fixture(scope="module")
def trees():
    return lookups_page.build_trees()


@pytest.fixture(scope="module")
def host():
    with postgresql(Path(sys.executable)) as folder:
        yield folder


@pytest.fixture(scope="module")
def extended_host():
    with served_by(PROGRAMS) as folder:
        yield folder


def answers(tree, host, server, *words):
    return lookups_page.run_program(TEXT, tree, server, *words, TEXT_HOST=host)


def test_text_counts_and_nothing_is_stale(trees, host, shared_server):
    found = answers(trees[1], host, shared_server)
    assert [name for name, (_, fresh) in found.items() if not fresh] == []
    assert [name for name, (kept, _) in found.items() if kept] == COUNT


def test_profile_alone_makes_equality_of_text_count(trees, host, shared_server):
    found = answers(trees[0], host, shared_server)
    kept = [name for name, (kept, _) in found.items() if kept]
    assert kept == [
        "text exact",
        "text exact beyond ASCII",
        "text in",
        "text other case",
        "char exact",
    ]


@pytest.mark.skipif(PROGRAMS is None, reason=REASON)
def test_columns_that_ignore_case_by_themselves_stay_fresh(trees, extended_host, shared_server):
    found = answers(trees[1], extended_host, shared_server, "extended")
    assert {"citext exact", "citext in", "collated exact"} <= found.keys()
    assert [name for name, (_, fresh) in found.items() if not fresh] == []


@pytest.mark.skipif(PROGRAMS is None, reason=REASON)
def test_columns_that_ignore_case_by_themselves_are_stale_on_bare_upstream(
    trees, extended_host, shared_server
):
    found = answers(trees[0], extended_host, shared_server, "extended")
    assert [name for name, (_, fresh) in found.items() if not fresh] == [
        "citext exact",
        "citext in",
        "collated exact",
    ]
