"""Takes expired results out of conj sets, so that a save does not have to list and delete them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS
from funcy import chunks

# Check and removal are one script: a result that is cached again in between would lose its entry.
_REAP_BATCH = """
local expired = {}
for i = 2, #ARGV do
    if redis.call('exists', ARGV[i]) == 0 then
        table.insert(expired, ARGV[i])
    end
end
if #expired > 0 and ARGV[1] == '0' then
    redis.call('srem', KEYS[1], unpack(expired))
end
return #expired
"""


def reap_conjs(
    chunk_size: int = 1000,
    min_conj_set_size: int = 1000,
    using: str = DEFAULT_DB_ALIAS,
    dry_run: bool = False,
) -> int:
    """Unlist expired results and return their number; a `dry_run` only counts."""
    # Imported late, for cacheops imports this module.
    from cacheops.redis import redis_client
    from cacheops.sharding import get_prefix

    script = redis_client.register_script(_REAP_BATCH)
    conj_sets = redis_client.scan_iter(match=get_prefix(dbs=[using]) + "conj:*", count=chunk_size)
    return sum(
        script(keys=[conj_set], args=[int(dry_run), *members])
        for conj_set in conj_sets
        if redis_client.scard(conj_set) >= min_conj_set_size
        for members in chunks(chunk_size, redis_client.sscan_iter(conj_set, count=chunk_size))
    )


class ReapCommand(BaseCommand):
    """manage.py reapconjs."""

    help = "Takes expired results out of conj sets"

    def add_arguments(self, parser: Any) -> None:
        """Take what `reap_conjs` takes."""
        parser.add_argument("--chunk-size", type=int, default=1000)
        parser.add_argument("--min-conj-set-size", type=int, default=1000)
        parser.add_argument("--using", default=DEFAULT_DB_ALIAS)
        parser.add_argument("--dry-run", action="store_true")

    def handle(
        self, chunk_size: int, min_conj_set_size: int, using: str, dry_run: bool, **options: Any
    ) -> None:
        """Say how many there were."""
        reaped = reap_conjs(chunk_size, min_conj_set_size, using, dry_run)
        self.stdout.write(f"{'Would reap' if dry_run else 'Reaped'} {reaped} expired results")
