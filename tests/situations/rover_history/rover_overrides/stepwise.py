"""Frees what depended on a saved row in small steps, so that Redis serves others in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from funcy import chunks

STEP = 1000


def moved_suffix() -> str:
    """Return an ending for moved conj sets that no other save uses."""
    return f":moved:{uuid4().hex}"


def free_in_steps(client: Any, conj_sets: Iterable[bytes]) -> None:
    """Free the results listed in `conj_sets`, which nobody adds to any more, then the sets."""
    for conj_set in conj_sets:
        for results in chunks(STEP, client.sscan_iter(conj_set, count=STEP)):
            client.unlink(*results)
        client.unlink(conj_set)
