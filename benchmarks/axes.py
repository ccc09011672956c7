"""Quality against what it cost: seconds, tokens, and calls of the cell one after another."""

import math
import statistics
from pathlib import Path

from fairseq_smt.analysis.figures import legend_below, new_figure
from fairseq_smt.cli.output import write_png
from report import table

AXES = {
    "cost_seconds": "seconds",
    "cost_tokens": "tokens read",
    "cost_depth": "depth",
}
"""The costs, by the names that fairseq-train logs; depth is calls of the cell one after another."""

Curve = list[dict[str, float]]
"""Points with what a run has cost, by axis, and its `quality`."""


def cost_to(curve: Curve, axis: str, level: float, sign: int) -> float:
    """What it cost to reach a quality first, on the straight line between validations; infinite if it was not.

    Args:
        sign: 1 where a large quality is good, else -1.
    """
    before = None
    for point in curve:
        if sign * point["quality"] >= sign * level:
            if before is None or before["quality"] == point["quality"]:
                return point[axis]
            share = (level - before["quality"]) / (point["quality"] - before["quality"])
            return before[axis] + share * (point[axis] - before[axis])
        before = point
    return math.inf


def common_level(curves: dict[str, list[Curve]], sign: int) -> float:
    """The quality that half of the methods have at their end with every seed."""
    worst = [min(sign * curve[-1]["quality"] for curve in found) for found in curves.values() if found]
    return sign * statistics.median(worst)


def final(curves: list[Curve]) -> float:
    """The median quality at the end of the runs of a method; NaN if there is none."""
    return statistics.median([curve[-1]["quality"] for curve in curves]) if curves else math.nan


def axes_table(curves: dict[str, list[Curve]], level: float, sign: int, quality: str) -> list[str]:
    """Each method's quality at the end of its runs and what `level` cost it, the best of each column in bold.

    Args:
        curves: of every seed, by method.
    """
    columns = {f"{quality} at the end": {name: final(found) for name, found in curves.items()}}
    for axis, title in AXES.items():
        columns[f"{title} to {level:.3g}"] = {
            name: statistics.median([cost_to(curve, axis, level, sign) for curve in found] or [math.inf])
            for name, found in curves.items()
        }
    text: dict[str, list[str]] = {name: [name] for name in curves}
    winners = []
    for i, (title, values) in enumerate(columns.items()):
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        best = (max if i == 0 and sign > 0 else min)(finite, key=finite.get, default=None)
        for name, value in values.items():
            shown = f"{value:.3f}" if i == 0 else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            shown = shown if name in finite else "–"
            text[name].append(f"**{shown}**" if name == best else shown)
        winners.append(f"{title}: {best or 'none'}")
    return [*table(["method", *columns], list(text.values())), "", f"Best on each axis: {'; '.join(winners)}."]


def axes_plot(path: Path, panels: dict[str, dict[str, list[Curve]]], levels: dict[str, float], quality: str) -> None:
    """Quality against each cost: a row of panels per title, a line per seed of every method, the common level dashed.

    Args:
        panels: curves of every seed by method, by title.
        levels: by title.
    """
    figure, rows = new_figure(len(panels), len(AXES))
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for row, (title, curves) in zip(rows, panels.items(), strict=True):
        for panel, (axis, cost) in zip(row, AXES.items(), strict=True):
            for name, found in curves.items():
                color, style = f"C{names.index(name) % 10}", ("-", "--", ":", "-.")[names.index(name) // 10 % 4]
                for seed, curve in enumerate(found):
                    x, y = ([point[key] for point in curve] for key in (axis, "quality"))
                    label = None if seed else name
                    panel.plot(x, y, style, color=color, marker=".", markersize=3, linewidth=1, label=label)
            panel.axhline(levels[title], color="0.7", linewidth=0.8, linestyle="--")
            panel.set(xscale="log", xlabel=cost)
        row[0].set_ylabel(f"{title}\n{quality}" if title else quality)
    legend_below(figure, rows[0][0])
    write_png(path, figure)
