"""What runs came to and how long they took, as tables with a column for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fairseq_smt.reporting.curves import Series
from fairseq_smt.reporting.runs import Run

NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """A value, what is said beside it, and whether it is the best of its row."""

    text: str = NOTHING
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is about, and a cell per run."""

    title: str
    cells: tuple[Cell, ...]

    @property
    def says_something(self) -> bool:
        """Whether any cell is filled."""
        return any(cell.text != NOTHING for cell in self.cells)


@dataclass(frozen=True)
class Best:
    """The best value of a run's validation and its update, None where only the checkpoint tells of one."""

    value: float
    update: int | None


def best_of(run: Run, name: str) -> Best | None:
    """The best validation of a run by a loss, or by an accuracy, on the first of its --valid-subset."""
    series = validation_of(run, name)
    if series:
        choose = max if name.endswith("accuracy") else min
        update = choose(series, key=lambda u: series[u])
        return Best(series[update], update)
    return Best(run.validation[name], None) if name in run.validation else None


def validation_of(run: Run, name: str) -> Series:
    """Values of the first of a run's --valid-subset."""
    return run.curves.validation(name, str(run.cfg.dataset.valid_subset).split(",")[0])


def at_a_glance(runs: Sequence[Run]) -> list[Row]:
    """What the runs are, and what they came to."""
    folders = {run.folder.resolve(): run.name for run in runs}

    def started(run: Run) -> str | None:
        return run.parent and folders.get(Path(run.parent).resolve().parent, run.parent)

    rows = [
        _row("criterion", runs, lambda run: run.criterion),
        _row("started from", runs, started),
        _row("updates", runs, lambda run: f"{run.updates:,}"),
        _row("seconds of training", runs, lambda run: None if run.seconds is None else f"{run.seconds:,.0f}"),
        _scores("RNN alone, bits per target", runs, "rnn_nll"),
        _scores("ceiling, bits per target", runs, "ceiling_nll", marked=False),
        _scores("RNN alone, bits per byte", runs, "rnn_bpb"),
        _scores("RNN alone, share right", runs, "rnn_accuracy"),
        _scores("ceiling, share right", runs, "ceiling_accuracy", marked=False),
        _row("parameters of the RNN", runs, lambda run: f"{run.parameters:,}"),
        _row("memory, cell", runs, _memory),
    ]
    if not any(best_of(run, "rnn_nll") for run in runs):
        rows.insert(4, _scores("loss, bits", runs, "loss"))
    return [row for row in rows if row.says_something]


def seconds(runs: Sequence[Run]) -> list[Row]:
    """Where the seconds went."""
    phases = {
        "until the first update": lambda run: run.phases.start,
        "updates": lambda run: run.phases.updates,
        "validation": lambda run: run.phases.validation,
        "saving": lambda run: run.phases.saving,
    }
    rows = [
        _row("training", runs, lambda run: None if run.seconds is None else f"{run.seconds:,.1f}"),
        _row("with the stages before it", runs, lambda run: f"{run.with_earlier:,.1f}"),
        *(
            _row(title, runs, lambda run, of=of: f"{of(run):,.1f}" if run.phases.total else None)
            for title, of in phases.items()
        ),
        _row("milliseconds per update", runs, milliseconds),
    ]
    return [row for row in rows if row.says_something]


def milliseconds(run: Run) -> str | None:
    """Of an update, the median over the log's intervals."""
    rates = [rate for rate in run.curves.training("ups").values() if rate > 0]
    return f"{1000 / median(rates):,.0f}" if rates else None


def shares(run: Run) -> list[tuple[str, float]]:
    """Percent of a run's seconds by phase."""
    parts = {"updates": run.phases.updates, "validation": run.phases.validation, "saving": run.phases.saving}
    total = sum(parts.values())
    return [(name, 100 * part / total) for name, part in parts.items()] if total > 0 else []


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def _row(title: str, runs: Sequence[Run], of: Callable[[Run], str | None]) -> Row:
    return Row(title, tuple(Cell(of(run) or NOTHING) for run in runs))


def _scores(title: str, runs: Sequence[Run], name: str, marked: bool = True) -> Row:
    """The best validations, of which the best over the runs is marked."""
    found = [best_of(run, name) for run in runs]
    values = [best.value for best in found if best]
    top = (max if name.endswith("accuracy") else min)(values) if len(values) > 1 and marked else None
    return Row(title, tuple(Cell() if best is None else _cell(best, best.value == top) for best in found))


def _cell(best: Best, top: bool) -> Cell:
    return Cell(number(best.value), "" if best.update is None else f"at {best.update:,}", top)


def _memory(run: Run) -> str | None:
    model = run.cfg.model
    return f"{model.memory_tokens} × {model.memory_width}, {model.cell}" if run.has_memories else None
