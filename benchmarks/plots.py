"""Pictures of benchmarks."""

import statistics
from pathlib import Path

from fairseq_smt.cli.figures import new_figure
from fairseq_smt.cli.output import write_png


def accuracy_plot(path: Path, cases: list[str], methods: dict[str, list[list[float]]]) -> None:
    """Accuracies of every method, beside each other for every case: the median as a bar, all values as points."""
    figure, ((axes,),) = new_figure(1, 1, size=(max(8.0, 1.8 * len(cases)), 5.0))
    width = 0.8 / len(methods)
    for i, (name, values) in enumerate(methods.items()):
        places = [case + (i + 0.5) * width - 0.4 for case in range(len(cases))]
        look = {"color": f"C{i // 2}", "alpha": 0.5 if name.endswith("curriculum") else 1.0}
        axes.bar(places, [statistics.median(v) for v in values], width, label=name, **look)
        for place, found in zip(places, values, strict=True):
            axes.plot([place] * len(found), found, "k.", markersize=3)
    axes.set(xticks=range(len(cases)), xticklabels=cases, ylabel="accuracy", ylim=(0, 1.02))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, fontsize="small")
    write_png(path, figure)
