"""What a rebase or a manual step would do or did, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text as Styled

from scripts.verdicts.retirement import Retirement
from scripts.wheel.compare import Comparison
from scripts.wheel.compare_text import print_comparison


@dataclass(frozen=True)
class RebasePlan:
    """What a rebase or a manual step would do, or did.

    `back` are the patches and features that come back, each with the reason. Only a dry run has
    `counts_line`, `conflicting` and `next_command`: the counts, the patches that conflict, and the
    next command. Only a finished rebase has `comparison`, what changed in the wheel, with the file
    that names all of it, and `closing`, the notes that are printed last.
    """

    origin: str
    target: str
    retire: tuple[Retirement, ...] = ()
    replay: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    back: tuple[tuple[str, str], ...] = ()
    counts_line: str = ""
    conflicting: tuple[str, ...] = ()
    next_command: str = ""
    comparison: Comparison | None = None
    comparison_file: str = ""
    closing: tuple[str, ...] = ()


def print_plan(plan: RebasePlan, console: Console, *, dry_run: bool) -> None:
    """Print what a rebase did, or would do."""
    _print_moves(plan, console, "would move" if dry_run else "moved")
    for note in plan.notes:
        console.print(Styled(f"\n{note}"))
    if plan.comparison is not None:
        console.print()
        print_comparison(plan.comparison, console, plan.comparison_file)
    if plan.closing:
        console.print()
        for note in plan.closing:
            console.print(Styled(note), soft_wrap=True)
    if plan.next_command:
        console.print(f"\nnext: {plan.next_command}")
    if not dry_run and (plan.retire or plan.back or plan.replay or plan.origin != plan.target):
        console.print("\nnext: look at `git diff`, run your tests, then commit", style="dim")


def _print_moves(plan: RebasePlan, console: Console, verb: str) -> None:
    """Print what becomes of each patch."""
    if plan.counts_line:
        console.print(Styled(plan.counts_line, style="bold"))
    if plan.replay or plan.origin != plan.target:
        console.print(Styled(f"{verb} from {plan.origin} to {plan.target}", style="bold"))
    for item in plan.retire:
        console.print(Styled(f"  retire {item.id}: {item.trailer}", style="green"))
    for name, why in plan.back:
        console.print(Styled(f"  take back {name}: {why}", style="yellow"))
    for name in plan.replay:
        console.print(f"  replay {name}")
