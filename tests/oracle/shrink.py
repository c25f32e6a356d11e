"""Reduce what led to a stale read: fewer steps, then shorter ones, as long as the same query stays stale."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from oracle.step_runner import Stale, StepRunner, is_read

Steps = tuple[str, ...]
_TRIES = 250


def reproducers(
    stale: Sequence[Stale], number: int, *, workload: bool = False
) -> list[dict[str, Any]]:
    """Return reproducers of the first stale reads, one a query."""
    runner, found, seen = StepRunner(workload=workload), [], set()
    for item in stale:
        if len(found) >= number:
            break
        if item.query not in seen:
            seen.add(item.query)
            found.append(reproducer(runner, item))
    runner.other_connection.close()
    return found


def reproducer(runner: StepRunner, stale: Stale) -> dict[str, Any]:
    """Return the seed and the steps that are left, with what was read and what the database answers."""
    last: list[Stale] = [stale]

    def fails(steps: Steps) -> bool:
        found = replay(runner, stale.seed, steps)
        last[:] = found or last
        return bool(found)

    steps = _first(stale, fails)
    if steps is None:
        return {**_written(stale, stale.steps), "replays": False}
    steps = _fewer(_shorter(_fewer(steps, fails), fails), fails)
    fails(steps)
    return {**_written(last[0], steps), "replays": True}


def replay(runner: StepRunner, seed: int, steps: Steps) -> list[Stale]:
    """Do steps from a seed's first rows and return the stale reads."""
    runner.start(seed)
    found: list[Stale] = []
    for step in steps:
        found = runner.step(step)
        if found:
            break
    return found


def _written(stale: Stale, steps: Steps) -> dict[str, Any]:
    return {
        "seed": stale.seed,
        "steps": list(steps),
        "query": stale.query,
        "cached": _only(stale.cached, stale.database),
        "database": _only(stale.database, stale.cached),
    }


def _only(answer: str, other: str) -> str:
    """Return the rows that the other answer lacks, or all of them where just the order differs."""
    rows = answer.splitlines()
    return "\n".join([row for row in rows if row not in other.splitlines()] or rows)[:2000]


def _first(stale: Stale, fails: Callable[[Steps], bool]) -> Steps | None:
    """Find steps to begin with, few if possible."""
    writes = tuple(step for step in stale.steps[:-1] if not is_read(step))
    for steps in (
        (stale.query, stale.steps[-1]),
        (*writes, stale.query, stale.steps[-1]),
        stale.steps,
    ):
        if fails(steps):
            return steps
    return None


def _fewer(steps: Steps, fails: Callable[[Steps], bool]) -> Steps:
    """Leave out halves, quarters and at last single steps."""
    size = max(1, len(steps) // 2)
    while True:
        start = 0
        while start < len(steps):
            rest = steps[:start] + steps[start + size :]
            if rest and fails(rest):
                steps = rest
            else:
                start += size
        if size == 1:
            return steps
        size //= 2


def _shorter(steps: Steps, fails: Callable[[Steps], bool]) -> Steps:
    """Replace steps by shorter ones, the first that still fails at a time."""
    tries, again = _TRIES, True
    while again and tries > 0:
        again = False
        for at, step in enumerate(steps):
            for shorter in _variants(step):
                tries -= 1
                if tries > 0 and fails((*steps[:at], shorter, *steps[at + 1 :])):
                    steps, again = (*steps[:at], shorter, *steps[at + 1 :]), True
                    break
            if again:
                break
    return steps


def _variants(source: str) -> Iterator[str]:
    """Yield all sources with one part left out, the shortest first."""
    tree = ast.parse(source)
    found: set[str] = set()
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            for other in _replacements(node, name, value):
                setattr(node, name, other)
                text = ast.unparse(ast.fix_missing_locations(tree))
                setattr(node, name, value)
                if len(text) < len(source):
                    found.add(text)
    yield from sorted(found, key=len)


def _replacements(node: ast.AST, name: str, value: Any) -> Iterator[Any]:
    """Yield what a field of a node may be instead."""
    if isinstance(value, list):
        least = 1 if name in ("body", "items") else 0
        for at, item in enumerate(value):
            if len(value) > least and name in ("body", "keywords", "args", "elts"):
                yield value[:at] + value[at + 1 :]
            if isinstance(item, ast.With):
                yield value[:at] + item.body + value[at + 1 :]
            for part in _parts(item):
                yield [*value[:at], part, *value[at + 1 :]]
    for part in _parts(value):
        yield part
    if isinstance(value, str) and isinstance(node, ast.Constant) and "(" in value:
        yield from _quoted(value)


def _quoted(value: str) -> Iterator[str]:
    """Shorten source inside a string: what another connection does."""
    try:
        yield from _variants(value)
    except SyntaxError:
        return


def _parts(value: Any) -> Iterator[ast.AST]:
    """Yield expressions that an expression holds and that may stand in its place."""
    if isinstance(value, ast.BinOp):
        yield from (value.left, value.right)
    elif isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Invert):
        yield value.operand
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        yield value.func.value
    elif isinstance(value, ast.Subscript):
        yield value.value
