"""chaos: run an application's processes under faults and report every stale answer.

An answer is stale if it is older than what had been committed.
"""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from scripts.core.config import ChaosGate
from scripts.core.console import info
from scripts.core.errors import EnvironmentFailedError, Exit, UsageError
from scripts.core.repository import Repository
from scripts.gates.django_plan import subject_of
from scripts.probes.environments import MissingEnvironment, ensure_environment
from scripts.probes.servers import find_program, install_hint

MIN_SECONDS, MIN_TIMES = 3600, 20
"""The minimum of the whole gate on each server: its duration, and how often each fault happens."""

_ALIASES = {"redis7": "redis"}  # the server from PATH


@dataclass(frozen=True)
class ChaosSelection:
    """What is run; by default every fault on each available server.

    By default it takes at least an hour, and until each fault happened 20 times.
    """

    servers: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    seconds: float | None = None
    times: int | None = None
    seed: int | None = None
    short: bool = False


def chaos(
    repo: Repository,
    selection: ChaosSelection,
    *,
    upstream: bool = False,
    tree: Path | None = None,
    form: str = "terminal",
) -> Exit:
    """Run what is requested and print the report; stdout has nothing else."""
    gate = gate_of(repo)
    checker = _checker(gate)
    _check_names("fault", selection.faults, checker.faults.FAULTS)
    _check_names("place", selection.places, checker.places.PLACES)
    servers = _servers(repo, gate, selection)
    environment = repo.config.environment(gate.environment)
    ready = ensure_environment(
        repo, f"chaos-{gate.environment}", environment, [*environment.requires, *gate.requires]
    )
    if isinstance(ready, MissingEnvironment):
        raise EnvironmentFailedError(f"nothing can be run here: {ready.reason}")
    subject = subject_of(repo, upstream=upstream, tree=tree)
    # The seed is no secret: it is printed.
    seed = random.randrange(10**6) if selection.seed is None else selection.seed  # noqa: S311
    info(f"{subject.name}: seed {seed}")
    words = checker.run.SHORT_RUN if selection.short else _duration(selection)
    rounds = checker.run.run(
        checker.run.RunOptions(
            python=str(ready.python),
            tree=subject.folder,
            settings=dict(subject.settings),
            servers=servers,
            seed=seed,
            **words,
        )
    )
    if form == "json":
        click.echo(json.dumps(checker.report.as_document(rounds, seed, subject.name), indent=1))
    else:
        click.echo(checker.report.text(rounds, seed, subject.name))
    if any(found.is_interrupted for found in rounds):
        return Exit.INTERRUPTED
    return Exit.OK if checker.report.is_clean(rounds) else Exit.ATTENTION


def _duration(selection: ChaosSelection) -> dict[str, Any]:
    """Return how long the gate runs; with a number of seconds or times, no longer than that."""
    seconds, times = selection.seconds, selection.times
    if seconds is None and times is None:
        seconds, times = MIN_SECONDS, MIN_TIMES
    return {
        "faults": selection.faults,
        "places": selection.places,
        "seconds": seconds or 0,
        "times": times or 0,
    }


def list_faults(repo: Repository) -> None:
    """Print every kind of fault, where it happens, and the bound that the docs state for it."""
    for fault in _checker(gate_of(repo)).faults.FAULTS.values():
        bound = f"; bound: {fault.bound.words}" if fault.bound else ""
        click.echo(f"{fault.name} ({', '.join(fault.places)}){bound}")


def gate_of(repo: Repository) -> ChaosGate:
    """Return fork.toml's `[chaos]`; raise UsageError if there is none."""
    if repo.config.chaos is None:
        raise UsageError(
            "fork.toml has no [chaos], so this fork has no application to put under faults",
            hint="add [chaos] to fork.toml, with the keys checker, environment, servers and"
            " database",
        )
    return repo.config.chaos


def _checker(gate: ChaosGate) -> Any:
    """Return the package that fork.toml names, which needs clients that other verbs do not."""
    try:
        for module in ("faults", "places", "report", "run"):
            importlib.import_module(f"{gate.checker}.{module}")
    except ModuleNotFoundError as error:
        raise EnvironmentFailedError(f"{error.name} is not here", hint="nox -s chaos") from error
    return importlib.import_module(gate.checker)


def _check_names(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"there is no {kind} {name!r}", hint="nox -s chaos -- --list")


def _servers(repo: Repository, gate: ChaosGate, selection: ChaosSelection) -> tuple[str, ...]:
    """Return the requested servers that can run here, and print which cannot.

    Raise EnvironmentFailedError if nothing can run.
    """
    named = tuple(_ALIASES.get(name, name) for name in selection.servers)
    _check_names("server", named, gate.servers)
    wanted = named or (gate.servers[:1] if selection.short else gate.servers)
    database = repo.config.database(gate.database)
    found = []
    for name in wanted:
        server = repo.config.server(name)
        assert server is not None, name
        if find_program(server) is None:
            info(f"{name} is not tried: {install_hint(server)}")
        else:
            found.append(name)
    if not found or database is None or find_program(database) is None:
        missing = install_hint(database) if found and database else "see above for what is missing"
        raise EnvironmentFailedError("nothing can be run here", hint=missing)
    return tuple(found)
