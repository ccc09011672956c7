"""Figures for a page: SVG whose ink is the page's, narrow enough for a phone, and curves of several runs."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import quote

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairseq_smt.analysis.figures import Layout, figure_of
from fairseq_smt.reporting.curves import Series, thinned

COLOURS = ("#2f7fd6", "#e2711d", "#1f9d6b", "#c2408f", "#8a63d2", "#a98600", "#17a2b8", "#d1495b")
"""Of runs, in their order; readable on white and on black."""
NARROW = Layout(3.4, 2.7, stacked=True)
SMALL = Layout(1.5, 1.55)
INK = "#010203"
"""What is drawn in the colour of the page's text."""
POINTS_DPI = 90
"""Of clouds of points, which are no vectors."""
STYLE = b"""<style>svg { color: #1b1d22 } @media print { svg { color: #000 } }
@media (prefers-color-scheme: dark) { svg { color: #e4e6ea } }</style>"""


@contextmanager
def theme(colours: Sequence[str]) -> Iterator[None]:
    """How figures are drawn and written inside of it.

    Args:
        colours: of `C0`, `C1`, …
    """
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    bare = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor", "legend.edgecolor")
    style = dict.fromkeys(inked, INK) | dict.fromkeys(bare, "none")
    style |= {
        "axes.formatter.limits": (-3, 5),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.15,
    }
    style |= {"font.size": 10, "axes.titlesize": 10, "figure.titlesize": 11, "lines.linewidth": 1.4}
    style |= {
        "svg.fonttype": "none",
        "font.sans-serif": ["DejaVu Sans"],
        "svg.hashsalt": "fairseq_smt",
        "axes.prop_cycle": cycler(color=colours),
    }
    with matplotlib.rc_context(style):
        yield


def data_uri(figure: Figure) -> str:
    """A figure as what an `<img>` shows without a file; inside of `theme`."""
    buffer = io.BytesIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", dpi=POINTS_DPI, metadata=metadata)
    svg = buffer.getvalue().replace(INK.encode(), b"currentColor")
    svg = re.sub(rb"<!--.*?-->|[\x00-\x08\x0b\x0c\x0e-\x1f]", b"", svg[svg.index(b"<svg") :], flags=re.DOTALL)
    svg = re.sub(rb">\s+<", b"><", svg).replace(b"<defs>", STYLE + b"<defs>", 1)
    svg = re.sub(rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+|\n", rb"\1", path[0]), svg)
    return "data:image/svg+xml," + quote(svg, safe=" =:/;,()+-.*!")


def curve_figure(runs: Mapping[str, tuple[Series, Series]]) -> Figure | None:
    """One logged value of several runs, by their names: of training as lines, of validation as lines with dots.

    None where there is nothing to see: no value, or the same one again and again.
    """
    values = [f"{value:.5g}" for pair in runs.values() for series in pair for value in series.values()]
    if not values or len(values) > len(set(values)) == 1:
        return None
    figure, (panel,) = figure_of(1, SMALL)
    figure.set_layout_engine(None)  # it takes longer than the drawing
    figure.subplots_adjust(left=0.24, right=0.97, bottom=0.17, top=0.9)
    for i, (training, validation) in enumerate(runs.values()):
        if training:
            panel.plot(*thinned(training), color=f"C{i}", alpha=0.55, linewidth=1)
        if validation:
            panel.plot(*thinned(validation, 60), "o-", color=f"C{i}", markersize=3)
    _cut_start(panel, (series for pair in runs.values() for series in pair))
    panel.set_xlim(left=0)
    panel.ticklabel_format(useOffset=False)
    panel.locator_params(nbins=4)
    return figure


def ceiling_figure(runs: Mapping[str, tuple[Series, Series]], unit: str) -> Figure | None:
    """The RNN alone and its ceiling in validation, by the names of the runs; None where there is no RNN's."""
    if not any(own for own, _ in runs.values()):
        return None
    figure, (panel,) = figure_of(1, Layout(4.4, 2.9))
    for i, (own, above) in enumerate(runs.values()):
        if own:
            panel.plot(*thinned(own), "o-", color=f"C{i}", markersize=4)
        if above:
            panel.plot(*thinned(above), "s:", color=f"C{i}", markersize=3, alpha=0.85)
    panel.set(xlabel="updates", ylabel=unit)
    panel.set_xlim(left=0)
    return figure


def _cut_start(panel: Axes, curves: Iterable[Series]) -> None:
    """Leave out of the picture what only the first updates have, where it would flatten the rest."""
    values = [thinned(series)[1] for series in curves]
    later = [v for part in values for v in part[1 + len(part) // 20 :]]
    if len(later) < 10:
        return
    low, high = min(later), max(later)
    spread = max(map(max, filter(None, values))) - min(map(min, filter(None, values)))
    if spread > 3 * (high - low) > 0:
        panel.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
