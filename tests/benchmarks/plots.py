"""The figures as pictures, SVG and PNG, in the units of the table."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
from benchmarks import report

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

COLOURS = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#888888")


def draw(found: dict[str, Any], folder: Path) -> None:
    """Write the pictures into a folder."""
    for name, paint in (("waits", _waits), ("times", _times)):
        figure, axes = plt.subplots(figsize=(9, 4.8), layout="constrained")
        paint(axes, found)
        axes.spines[["top", "right"]].set_visible(False)
        figure.supxlabel(report.machine_summary(found), fontsize=6.5, color="#555555")
        for kind in ("svg", "png"):
            figure.savefig(
                folder / f"{name}.{kind}",
                dpi=150,
                metadata={"Date": None} if kind == "svg" else None,
            )
        plt.close(figure)


def _waits(axes: Axes, found: dict[str, Any]) -> None:
    """Draw the longest wait of another client against the number of dependents."""
    sizes = sorted({one["dependents"] for one in found["waits"]})
    for name, colour in zip(found["contenders"], COLOURS, strict=False):
        longest = [
            1000
            * statistics.median(
                one["with"]["longest"]
                for one in found["waits"]
                if (one["contender"], one["dependents"]) == (name, size)
            )
            for size in sizes
        ]
        axes.plot(
            sizes,
            longest,
            marker="o",
            color=colour,
            label=name,
            linewidth=2.5 if name == found["contenders"][0] else 1.5,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="results that depend on the row",
        ylabel="milliseconds, log",
    )
    axes.set_title(
        "The longest another client waits for the server while a row is saved", loc="left"
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)


def _times(axes: Axes, found: dict[str, Any]) -> None:
    """Draw the times of the operations on PostgreSQL beside upstream's default."""
    measures = found["operations"]["postgresql"] | {"3,500 saves in a transaction": _seconds(found)}
    base = found["contenders"][1]
    names = [name for name in found["contenders"] if name != base]
    colours = dict(zip(found["contenders"], COLOURS, strict=False))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = [row + number * width for row in range(len(measures))]
        ratios = [seconds[name] / seconds[base] for seconds in measures.values()]
        bars = axes.barh(
            places,
            [min(ratio, 4) for ratio in ratios],
            height=width * 0.9,
            color=colours[name],
            label=name,
        )
        axes.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=2, fontsize=7)
    axes.set_yticks([row + 0.4 - width / 2 for row in range(len(measures))], list(measures))
    axes.invert_yaxis()
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set_xlim(0, 1.15 * max(bar.get_width() for bar in axes.patches))
    axes.set_xlabel(f"time, {base} = 1 (bars end at 4 at the latest)")
    axes.set_title(
        "What an operation takes on PostgreSQL, beside upstream's default mode", loc="left"
    )
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _seconds(found: dict[str, Any]) -> dict[str, float]:
    return {name: one["seconds"] for name, one in found["transaction"]["postgresql"].items()}
