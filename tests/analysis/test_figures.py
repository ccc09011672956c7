"""Pictures of the commands: what they show is not covered."""

import numpy as np
import pytest

from fairseq_smt.analysis.figures import drift_figure, gradient_figure, loss_figure

T = 64
NAMES = {
    "short": ["SMT", "SMT-DMT", "BPTT"],
    "long": ["a_folder_with_a_rather_long_name_of_its_own_and_more_of_it", "b"],
    "many": [f"run-{i}" for i in range(7)],
}


def report(level: float) -> dict:
    """A checkpoint's report, its curves all over the panels."""
    norms = list(10.0 ** np.linspace(-6, level, T))
    gradients = {
        method: {when: {"norm": norms} for when in ("initialisation", "trained")} for method in ("bptt", "smt")
    }
    bits = [level - 1, *np.linspace(0, 8, T - 2), level]
    loss = {
        "against": "position",
        "x": list(range(T)),
        "targets": [1] * T,
        "rnn_bits": bits,
        "ceiling_bits": bits[::-1],
    }
    return {"gradients": gradients, "drift": {"over_variance": bits}, "loss": loss, "training_length": T // 4}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("draw", [gradient_figure, drift_figure, loss_figure])
def test_the_legend_covers_no_panel_and_is_whole(draw, names):
    figure = draw({name: report(i) for i, name in enumerate(names)})
    figure.canvas.draw()
    legends = figure.legends + [panel.get_legend() for panel in figure.axes if panel.get_legend()]
    (legend,) = legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0
    for panel in figure.axes:
        assert not box.overlaps(panel.get_window_extent()) and panel.get_window_extent().height > 250
        lines = [line.get_label() for line in panel.get_lines() if not line.get_label().startswith("_")]
        assert len(lines) == len(legend.get_texts()) == len(set(lines))
