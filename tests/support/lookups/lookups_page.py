"""Write docs/lookups.md from what `measure_lookups` measures on bare upstream and on the series."""

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
from scripts.core.result_cache import ResultCache
from scripts.series.apply import TreeBuilder
from scripts.series.series import read_series
from scripts.upstream.vendor import ensure_releases
from tests.support import engine_redis

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "lookups.md"
MEASURE_LOOKUPS = Path(__file__).with_name("measure_lookups.py")
PLACES = ["main table", "foreign key", "reverse relation", "negated", "inside OR"]
CELL_TEXTS = {
    (True, True): "both",
    (False, True): "wheel",
    ("stale", False): "stale on bare",
    (False, False): "no",
    (None, None): "·",
}
INTRODUCTION = """# Which lookups count

A lookup counts if saving a row that does not match it keeps the result. A test writes this table:
it saves such rows and checks the results, on SQLite with the locked release under the profile. The
test fails if the table is out of date;
`WRITE_DOCS=1 nox -s tests -- tests/overrides/queries/test_lookup_table.py` writes it again.

- **both**: counts on bare upstream and on the wheel. **wheel**: only on the wheel. **no**: any save
  of the table invalidates the result, on either. **stale on bare**: bare upstream keeps a result
  that the save did change. **·**: no row shows it, or the database refuses the query.
- *main table*: a save of the table that is filtered. *foreign key*: `parent__field__…`, and a save
  of the table that holds the key. *reverse relation*: `children__field__…`, and a save of a child.
  *negated*: `~Q(…)`. *inside OR*: `Q(…) | Q(other=…)`.
- `isnull=True` through a reverse relation also matches rows without a child, so any first child
  invalidates it.
- Text is ordered by its collation, so `gt` to `range` of text do not count. Regular expressions do
  not count either, nor do patterns of other types than text.
- SQLite keeps more decimal places than Django reads back: there a value at a bound counts as a
  match, and negations of `exact` do not count.
- Case is certain in ASCII only: an operand or a value beyond ASCII may invalidate too much.
"""


def build_trees():
    """Return the folders of the locked release and of the series on it."""
    repo = Repository(ROOT)
    lock = read_lock(repo.lock_file)
    with repo.exclusive():
        ensure_releases(repo, lock)
        series = read_series(repo, lock)
        shop = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))
        release = lock.release(lock.locked)
        return shop.folder(release.tree), shop.folder(shop.build(series.active, release).tree)


def run_program(program, tree, server, *words, **more):
    """Run a program on a tree under the profile and return the JSON that it prints."""
    settings = {name: value for entry in profile.SETTINGS.values() for name, value in entry.items()}
    env = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "LOOKUPS_SERVER_URL": f"redis://127.0.0.1:{server.port}",
        "LOOKUPS_SETTINGS": json.dumps(settings),
        **more,
    }
    server.flush_all()
    done = subprocess.run(
        [sys.executable, program, *words], cwd="/", env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def measured_lookups(tree, server):
    """Return what counts on a tree by field and lookup."""
    return {
        (field, lookup): counts or [None] * len(PLACES)
        for field, lookup, counts in run_program(MEASURE_LOOKUPS, tree, server)
    }


def render_document(bare, wheel):
    """Return the text of the document; fields with the same answers share a line."""
    lines = defaultdict(list)
    for field, lookup in sorted(wheel, key=lambda pair: pair[1]):
        cells = tuple(
            CELL_TEXTS[pair] for pair in zip(bare[field, lookup], wheel[field, lookup], strict=True)
        )
        lines[lookup, cells].append(field.removesuffix("Field"))
    head = ["lookup", "fields", *PLACES]
    table = [
        head,
        ["---"] * len(head),
        *([f"`{lookup}`", ", ".join(fields), *cells] for (lookup, cells), fields in lines.items()),
    ]
    return INTRODUCTION + "\n" + "".join(f"| {' | '.join(row)} |\n" for row in table)


def current_document():
    """Return what the document should be, and the answers on bare upstream and the wheel."""
    bare_tree, wheel_tree = build_trees()
    with (
        tempfile.TemporaryDirectory() as folder,
        engine_redis.RedisServer("valkey9", Path(folder)) as server,
    ):
        bare, wheel = measured_lookups(bare_tree, server), measured_lookups(wheel_tree, server)
    return render_document(bare, wheel), bare, wheel
