"""All pictures of the commands, as matplotlib figures that no display is needed for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from fairseq_smt.analysis.measure import Geometry

METHODS = {"bptt": ("BPTT", "--"), "smt": ("SMT", "-")}
MOMENTS = {"initialisation": "at initialisation", "trained": "as trained"}


@dataclass(frozen=True)
class Layout:
    """Inches of a panel, and whether the panels of a figure stand above each other."""

    width: float = 5
    height: float = 4
    stacked: bool = False


BESIDE = Layout()


def gradient_figure(reports: dict[str, dict[str, Any]], layout: Layout = BESIDE) -> Figure:
    """‖∂L/∂m_t‖ against t, at initialisation and as trained; reports by the names of the checkpoints."""
    figure, panels = figure_of(2, layout, sharey=True)
    for panel, (when, title) in zip(panels, MOMENTS.items(), strict=True):
        for i, (name, report) in enumerate(reports.items()):
            for method, part in report["gradients"].items():
                label, style = METHODS[method]
                panel.plot(part[when]["norm"], style, color=f"C{i}", label=f"{shown(name)}, loss of {label}")
        panel.set(yscale="log", xlabel="position t", title=title)
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel("‖∂L/∂m_t‖")
    bottom, top = panels[0].get_ylim()
    panels[0].set_ylim(bottom=max(bottom, top * 1e-12))  # what has vanished further would flatten the rest
    legend_below(figure, panels[1])
    return figure


def drift_figure(reports: dict[str, dict[str, Any]], layout: Layout = BESIDE) -> Figure | None:
    """Drift over label variance against the horizon; None where no checkpoint has a teacher."""
    drifts = {name: (report.get("drift") or {}).get("over_variance") for name, report in reports.items()}
    if not any(drifts.values()):
        return None
    figure, (panel,) = figure_of(1, layout)
    for i, (name, drift) in enumerate(drifts.items()):
        if drift:
            panel.plot(range(1, len(drift) + 1), drift, color=f"C{i}", label=shown(name))
    panel.set(xscale="log", xlabel="steps on its own memories", ylabel="drift / label variance")
    legend_below(figure, panel)
    return figure


def loss_figure(reports: dict[str, dict[str, Any]], layout: Layout = BESIDE) -> Figure:
    """Loss in bits against position, each point the mean of 1/64 of the positions; a line where training ended."""
    figure, (panel,) = figure_of(1, layout)
    for i, (name, report) in enumerate(reports.items()):
        loss = report["loss"]
        for who, style in (("rnn", "-"), ("ceiling", ":")):
            if f"{who}_bits" in loss:
                mean = _bins(loss["targets"]) if loss["against"] == "position" else np.asarray
                label = f"{shown(name)}, {'RNN' if who == 'rnn' else 'ceiling'}"
                panel.plot(mean(loss["x"]), mean(loss[f"{who}_bits"]), style, color=f"C{i}", label=label)
    for length in {report["training_length"] for report in reports.values()}:
        panel.axvline(length, color="0.7", linewidth=1)
    against = {report["loss"]["against"] for report in reports.values()}
    xlabel = {"position": "position", "length": "length of the sequence"}
    panel.set(xlabel=" or ".join(xlabel[a] for a in sorted(against)), ylabel="bits per target")
    legend_below(figure, panel)
    return figure


def geometry_figure(name: str, report: dict[str, Any], geometry: Geometry, layout: Layout = BESIDE) -> Figure:
    """Labels and the RNN's own memories in the same two axes, coloured by position."""
    clouds = {"the RNN's own memories": geometry.own}
    if geometry.labels is not None:
        clouds = {"labels": geometry.labels} | clouds
    first, second = report["explained"]
    figure, panels = figure_of(len(clouds), layout, sharex=True, sharey=True)
    for panel, (title, points) in zip(panels, clouds.items(), strict=True):
        cloud = panel.scatter(*points.T.numpy(), c=geometry.positions.numpy(), s=4, cmap="viridis", rasterized=True)
        panel.set(title=title, xlabel=f"axis 1, {first:.0%} of the variance of the {report['axes_of']}")
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel(f"axis 2, {second:.0%}")
    figure.colorbar(cloud, ax=panels, label="position")
    figure.suptitle(shown(name))
    return figure


def image_grid(rows: dict[str, np.ndarray], hidden: int) -> Figure:
    """Images as a grid, a row of them under each title.

    Args:
        rows: grey values in [0, 1], NaN where nothing is known, (images, height, width), by title.
        hidden: first image row that was not shown; a line marks it.
    """
    number, height, width = next(iter(rows.values())).shape
    size = (1.5 + 0.7 * number, 0.75 * len(rows) * height / width + 0.1)
    figure, panels = new_figure(len(rows), number, size=size)
    for line, (title, images) in zip(panels, rows.items(), strict=True):
        for panel, image in zip(line, images, strict=True):
            panel.set_facecolor("#8fb3d9")
            panel.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            panel.axhline(hidden - 0.5, color="#d9532c", linewidth=1)
            panel.set(xticks=[], yticks=[])
        line[0].set_ylabel(shown(title), rotation=0, ha="right", va="center")
    return figure


def figure_of(number: int, layout: Layout, **kwargs) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, beside or above each other."""
    rows, columns = (number, 1) if layout.stacked else (1, number)
    size = (1 + layout.width * columns, layout.height * rows)
    figure, panels = new_figure(rows, columns, size, **kwargs)
    return figure, list(panels.flat)


def shown(name: str) -> str:
    """A name as text: to matplotlib, `$` begins a formula, and a leading `_` leaves a curve out of legends.

    Characters that the font lacks are escaped.
    """
    font = get_font(findfont(FontProperties()))
    name = "".join(c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode() for c in name)
    return ("\u2009" + name if name.startswith("_") else name).replace("$", r"\$")


def new_figure(rows: int, columns: int, size: tuple[float, float] | None = None, **kwargs) -> tuple[Figure, np.ndarray]:
    """A figure of `size` inches and its panels, (rows, columns)."""
    figure = Figure(figsize=size or (1 + 5 * columns, 4 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def legend_below(figure: Figure, panel: Axes) -> None:
    """The panel's legend under all panels, where it covers no curve; the figure grows by it."""
    handles, labels = panel.get_legend_handles_labels()
    width, height = figure.get_size_inches()
    column = 0.7 + 0.09 * max(map(len, labels))  # inches: a line and a character of the default font
    columns = max(1, min(len(labels), int(width / column)))
    rows = -(-len(labels) // columns)
    figure.set_size_inches(max(width, column), height + 0.2 * rows)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _bins(weights: list[int], number: int = 64) -> Callable[[list[float]], np.ndarray]:
    """A function that averages values over at most `number` neighbouring groups of equal size."""
    edges = np.unique(np.linspace(0, len(weights), min(number, len(weights)) + 1).astype(int))[:-1]
    count = np.add.reduceat(np.asarray(weights, dtype=float), edges)
    return lambda values: np.add.reduceat(np.asarray(values) * weights, edges) / count
