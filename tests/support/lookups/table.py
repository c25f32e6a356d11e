"""Write docs/lookups.md from what `found` finds on bare upstream and on the series."""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from rover_overrides import profile
from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.core.result_cache import Store
from scripts.series.apply import Workshop
from scripts.series.series import read_series
from scripts.upstream.vendor import bring
from tests.support import live

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "lookups.md"
FOUND = Path(__file__).with_name("found.py")
PLACES = ["main table", "foreign key", "reverse relation", "negated", "inside OR"]
WORDS = {
    (True, True): "both",
    (False, True): "wheel",
    ("stale", False): "stale on bare",
    (False, False): "no",
    (None, None): "·",
}
INTRODUCTION = """# Which lookups count

A lookup counts where a save of a row that it leaves out keeps the result. This table is written by
a test that saves such rows and looks, on SQLite with the locked release under the profile, and that fails where the table is not
what it finds: `WRITE_DOCS=1 nox -s tests -- tests/overrides/queries/test_lookup_table.py` writes it anew.

- **both**: counts on bare upstream and on the wheel. **wheel**: on the wheel alone. **no**: any save of the table drops it, on either.
  **stale on bare**: bare upstream keeps a result that the save did change. **·**: no row shows it, or the database refuses the query.
- *main table*: a save of the table that is filtered. *foreign key*: `parent__field__…`, and a save of the table that holds the key.
  *reverse relation*: `children__field__…`, and a save of a child. *negated*: `~Q(…)`. *inside OR*: `Q(…) | Q(other=…)`.
- `isnull=True` through a reverse relation asks for those without a child too, so that any first child matters.
- The order of text is its collation's, so `gt` to `range` of text do not count; nor do regular expressions, nor patterns of what is no text.
- SQLite keeps more places of a decimal than Django reads back: there a value at a bound matters, and negations of `exact` do not count.
- Only the certain part of case counts: an operand or a value beyond ASCII drops rather too much.
"""


def trees():
    """Return the folders of the locked release and of the series on it."""
    repo = Repository(ROOT)
    lock = read_lock(repo.lock_file)
    with repo.alone():
        bring(repo, lock)
        series = read_series(repo, lock)
        shop = Workshop(repo, lock, series, Store(repo.work / "results"))
        release = lock.release(lock.locked)
        return shop.folder(release.tree), shop.folder(shop.build(series.active, release).tree)


def run(program, tree, server, *words, **more):
    """Run a program on a tree under the profile and return the JSON that it prints."""
    settings = {name: value for entry in profile.SETTINGS.values() for name, value in entry.items()}
    env = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "LOOKUPS_SERVER_URL": f"redis://127.0.0.1:{server.port}",
        "LOOKUPS_SETTINGS": json.dumps(settings),
        **more,
    }
    server.flush()
    done = subprocess.run(
        [sys.executable, program, *words], cwd="/", env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def found(tree, server):
    """Return what counts on a tree by field and lookup."""
    return {
        (field, lookup): counts or [None] * len(PLACES)
        for field, lookup, counts in run(FOUND, tree, server)
    }


def document(bare, wheel):
    """Return the text of the document; fields with the same answers share a line."""
    lines = defaultdict(list)
    for field, lookup in sorted(wheel, key=lambda pair: pair[1]):
        cells = tuple(
            WORDS[pair] for pair in zip(bare[field, lookup], wheel[field, lookup], strict=True)
        )
        lines[lookup, cells].append(field.removesuffix("Field"))
    head = ["lookup", "fields", *PLACES]
    table = [
        head,
        ["---"] * len(head),
        *([f"`{lookup}`", ", ".join(fields), *cells] for (lookup, cells), fields in lines.items()),
    ]
    return INTRODUCTION + "\n" + "".join(f"| {' | '.join(row)} |\n" for row in table)


def current():
    """Return what the document should be, and the answers on bare upstream and the wheel."""
    bare_tree, wheel_tree = trees()
    with tempfile.TemporaryDirectory() as folder, live.Live("valkey9", Path(folder)) as server:
        bare, wheel = found(bare_tree, server), found(wheel_tree, server)
    return document(bare, wheel), bare, wheel
