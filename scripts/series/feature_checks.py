"""Check the names that a feature's record uses."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion

from scripts.core.errors import Problem
from scripts.core.model import Feature
from scripts.core.repository import Repository


def feature_problems(repo: Repository, feature: Feature) -> Iterator[Problem]:
    """Yield problems with the names that a feature's record uses."""
    for text in feature.needs:
        try:
            Requirement(text)
        except InvalidRequirement:
            wrong = f"Needs: {text!r} is not a requirement such as `Django>=6`"
            yield Problem(wrong, "write `Needs: NAME>=VERSION`, or delete the line")
    for spec in feature.probes:
        if not _matches(repo.root, spec):
            near = [f"write `{other}` for {spec}" for other in _near_probes(repo.root, spec)]
            advice = "\n".join([*near, f"take {spec} out of `Probes:`"])
            yield Problem(f"Probes: {spec} matches nothing", advice)
    if feature.mutation and not (repo.root / feature.mutation).is_file():
        advice = "write the path of a diff, or delete the line `Mutation:`"
        yield Problem(f"Mutation: there is no {feature.mutation}", advice)
    try:
        _ = feature.retired_in  # parses the release
    except InvalidVersion:
        text = f"Applied-Upstream: {feature.applied_upstream!r} does not begin with a release"
        yield Problem(text, f"write `Applied-Upstream: RELEASE; {feature.applied_upstream}`")


def _matches(root: Path, spec: str) -> bool:
    """Return whether a probe path or node id names something that exists."""
    name, _, node = spec.partition("::")
    path = root / name
    if not path.is_file():
        return False
    if not node:
        return True
    names = _test_names(path)
    # If it is not Python, the run of the probe reports it.
    return names is None or node.split("::")[-1].split("[")[0] in names


def _test_names(path: Path) -> list[str] | None:
    """Return the functions and classes of a file, or None if it is not Python."""
    try:
        tree = ast.parse(path.read_text())
    except SyntaxError:
        return None
    kinds = ast.FunctionDef, ast.ClassDef
    return [item.name for item in ast.walk(tree) if isinstance(item, kinds)]


def _near_probes(root: Path, spec: str) -> list[str]:
    """Return the test that a name was probably meant to be, if one is close."""
    name, _, node = spec.partition("::")
    path = root / name
    if node and path.is_file():
        head = spec.rpartition("::")[0]
        near = difflib.get_close_matches(node.split("::")[-1], _test_names(path) or [], n=1)
        return [f"{head}::{other}" for other in near]
    files = [str(other.relative_to(root)) for other in path.parent.glob("test_*.py")]
    return difflib.get_close_matches(name, files, n=1)
