"""Methods of one or more stages, tuned alike and run under budgets of seconds."""

import argparse
import json
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from axes import AXES, Curve, axes_plot, axes_table, common_level
from fairseq_smt.core.cells import CELLS
from methods import Entry, Stage, entries
from report import add_output_flag, add_run_flags, emit
from runs import Runs

TIE = {"nll": 0.005, "accuracy": 0.01}
"""Differences that do not decide between two learning rates: bits, and a share."""

LEAST = 10
"""Updates of a run at least, however small its budget."""


class Study:
    """Runs of all methods in one folder; a run is named by its stages, so that methods share their first ones.

    Args:
        runs: where they are.
        length: T.
        validations: along a run, the last one included.
        widenings: learning rates that a search may try beside those that it begins with.
    """

    def __init__(self, runs: Runs, length: int, validations: int = 1, widenings: int = 3):
        self.runs, self.length = runs, length
        self.validations, self.widenings = validations, widenings
        self.rates_file = runs.folder / "rates.json"
        self.lock = threading.Lock()
        self.seconds: dict[str, float] = {}

    def run(self, before: str, stage: Stage, rate: float, budget: float, seed: int) -> str:
        """Train one stage after the run `before` ("" for none); its name.

        The number of updates follows from what one cost in the last run of the stage, or in a short one.
        """
        seconds = budget * stage.share
        name = f"{before}+" * bool(before) + f"{stage.name}-{rate:g}-{seconds:g}s-{seed}"
        kind = stage.name + "-after" * bool(before)
        start = f" --finetune-from-model {self.runs.checkpoint(before)}" if before else ""

        def updates() -> int:
            cost = self.seconds.get(kind) or self._measured(kind, f"{stage.flags} --lr 0.001{start}", stage.start)
            return max(round(seconds / cost), LEAST)

        result = self.runs.train(name, f"{stage.flags} --lr {rate:g} --seed {seed}{start}", updates, self.validations)
        if result["curve"]:
            self.seconds[kind] = result["curve"][-1]["cost_seconds"] / result["updates"]
        return name

    def _measured(self, kind: str, flags: str, start: int) -> float:
        """Seconds of an update on full blocks; with a curriculum over half of the run, on average of its blocks."""
        full = self.runs.seconds_per_update(kind, flags.replace(f"--curriculum-start {start}", ""))
        return full * (1 + (1 + start / self.length) / 2) / 2 if start else full

    def _judged(self, before: str, stages: tuple[Stage, ...], rate: float, budget: float) -> float:
        """How good a learning rate of the first of these stages is: what the last makes of it, each at its usual rate.

        A run that did not stay finite is worst.
        """
        rates = [rate, *(stage.usual for stage in stages[1:])]
        last = self.final(stages, rates, budget, 1, before)[-1]
        curve = self.runs.result(last)["curve"]
        return stages[-1].sign * curve[-1][stages[-1].measure] if curve else -math.inf

    def search(self, stages: tuple[Stage, ...], before: str, budget: float) -> list[float]:
        """Learning rates of the first of these stages that are as good as the best one, the best one first.

        While all of them are at the edge of those tried, more are.
        """
        usual = stages[0].rates
        factor, tie = usual[1] / usual[0], TIE[stages[-1].measure.rpartition("_")[2]]
        found = {rate: self._judged(before, stages, rate, budget) for rate in usual}
        for left in range(self.widenings, -1, -1):
            best = max(found.values())
            good = sorted((rate for rate in found if found[rate] >= best - tie), key=lambda r: -found[r])
            edges = {max(found): max(found) * factor, min(found): min(found) / factor}
            if not left or (best > -math.inf and any(rate not in edges for rate in good)):
                return good
            rate = float(f"{edges[good[0] if best > -math.inf else min(found)]:.3g}")
            found[rate] = self._judged(before, stages, rate, budget)

    def tune(self, stages: tuple[Stage, ...], budget: float, longer: "Study | None" = None) -> list[float]:
        """The best learning rate of each stage, given those of the stages before it; ties are decided by `longer`."""
        best: list[float] = []
        for i in range(len(stages)):
            before = self.final(stages[:i], best, budget, 1)
            good = self.search(stages[i:], before[-1] if before else "", budget)
            if longer is not None and len(good) > 1:
                there = longer.final(stages[:i], best, budget, 1)
                last = there[-1] if there else ""
                good.sort(key=lambda rate, i=i, b=last: -longer._judged(b, stages[i:], rate, budget))
            best.append(good[0])
        return best

    def rates(self, name: str, stages: tuple[Stage, ...], budget: float, longer: "Study | None" = None) -> list[float]:
        """The learning rates that RUNS/rates.json has under a name; tuned, and written there, if it has none."""
        known = self._known_rates()
        if name not in known:
            tuned = self.tune(stages, budget, longer)
            with self.lock:  # others may have been tuned meanwhile
                known = self._known_rates() | {name: tuned}
                self.rates_file.write_text(json.dumps(known, indent=1, ensure_ascii=False))
        return known[name]

    def _known_rates(self) -> dict[str, list[float]]:
        return json.loads(self.rates_file.read_text()) if self.rates_file.exists() else {}

    def final(
        self, stages: tuple[Stage, ...], rates: list[float], budget: float, seed: int, before: str = ""
    ) -> list[str]:
        """The runs of a method's stages that come after the run `before`, up to one that did not stay finite."""
        names: list[str] = []
        for stage, rate in zip(stages, rates, strict=True):
            if not names or self.is_finite(names[-1]):
                names.append(self.run(names[-1] if names else before, stage, rate, budget, seed))
        return names

    def is_finite(self, name: str) -> bool:
        """Whether a run came to its end."""
        return bool(self.runs.result(name)["curve"])

    def curve(self, names: list[str], measure: str) -> Curve:
        """Cost and quality at every validation of the stages of a method, the costs of all stages added up."""
        points, spent = [], dict.fromkeys(AXES, 0.0)
        for name in names:
            own = [
                {axis: spent[axis] + point[axis] for axis in AXES} | {"quality": point[measure]}
                for point in self.runs.result(name)["curve"]
            ]
            points += own
            spent = own[-1] if own else spent
        return points


@dataclass(frozen=True)
class Job:
    """One run of all stages of an entry."""

    case: Any
    entry: Entry
    budget: float
    seed: int


def add_study_flags(parser: argparse.ArgumentParser, methods: list[str], runs: str, starts: list[int]) -> None:
    """The flags that all studies have."""
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods, metavar="METHOD")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=["gru", "lstm"], help="of our models")
    parser.add_argument(
        "--curriculum-start",
        nargs="+",
        type=int,
        default=starts,
        help="positions at which the curriculum of a method's first stage begins; 0: without; several: one row each",
    )
    parser.add_argument(
        "--tune", type=float, help="seconds of a method for each learning rate; the budget unless given"
    )
    parser.add_argument("--validations", type=int, default=8, help="along a run, the last one included")
    parser.add_argument("--level", type=float, help="quality whose cost is compared")
    parser.add_argument("--figure", type=Path, help="PNG of quality against seconds, tokens and depth")
    add_run_flags(parser, runs)
    add_output_flag(parser)


@dataclass
class Conducted:
    """What a study has run: entries in cases under budgets, for every seed."""

    args: argparse.Namespace
    studies: dict[Any, Study]
    entries: list[Entry]
    rates: dict[tuple[Any, Entry], list[float]]
    names: dict[Job, list[str]]
    """Runs of the stages of every job."""

    def runs(self, case: Any, entry: Entry, budget: float) -> list[list[str]]:
        """Names of the stages' runs, for every seed whose runs stayed finite."""
        found = [self.names[Job(case, entry, budget, seed)] for seed in self.args.seeds]
        return [names for names in found if self.studies[case].is_finite(names[-1])]

    def each(
        self, case: Any, entry: Entry, budget: float, measure: Callable[[Path], Any], stage: int = -1
    ) -> list[Any]:
        """A measure of the checkpoint of a stage, for every seed whose runs stayed finite."""
        runs = self.studies[case].runs
        return [measure(runs.checkpoint(names[stage])) for names in self.runs(case, entry, budget)]

    def used(self, case: Any, entry: Entry) -> str:
        """Learning rates of the stages."""
        return ", ".join(f"{rate:g}" for rate in self.rates[case, entry])

    def report(self, lines: list[str], measure: str, quality: str, budget: float, level: float | None) -> None:
        """Add to `lines` a table per case of costs and winners, write all of it, and draw the picture.

        Args:
            measure: of validation.
            quality: what a reader calls it.
            budget: of the runs that are compared.
            level: whose cost is compared; what half of the methods reach unless given.
        """
        sign, panels, levels = (1 if measure.endswith("accuracy") else -1), {}, {}
        for case, study in self.studies.items():
            curves = {
                str(entry): [study.curve(names, measure) for names in self.runs(case, entry, budget)]
                for entry in self.entries
            }
            title = str(case)
            panels[title], levels[title] = curves, common_level(curves, sign) if level is None else level
            told = f"{quality} in validation, and what it cost to reach {levels[title]:.3g}, in {budget:g} seconds; "
            told += "depth is calls of the cell one after another, forward and backward:"
            lines += ["", f"{title}: {told}" if title else told, ""]
            lines += axes_table(curves, levels[title], sign, quality)
        emit("\n".join(lines) + "\n", self.args.output, {"levels": levels, "curves": panels})
        if self.args.figure:
            axes_plot(self.args.figure, panels, levels, quality)
            print(f"wrote {self.args.figure}")


def conduct(
    args: argparse.Namespace,
    studies: dict[Any, Study],
    stages_of: Callable[[Any, Entry], tuple[Stage, ...]],
    budgets: list[float],
    tuned_at: Callable[[Any], Any] = lambda case: case,
    longest: Callable[[Any], Any] = lambda case: case,
) -> Conducted:
    """Tune every method with every cell, then run it for all cases, curricula, budgets and seeds.

    Entries that differ in their curriculum alone have their learning rates in common, those of the largest start.

    Args:
        studies: by case, which is a task of its own with a folder of its own.
        stages_of: the stages of an entry in a case.
        tuned_at: the case whose learning rates a case uses.
        longest: the case that decides ties where a case is tuned.
    """
    rows = entries(args.methods, args.cells, args.curriculum_start)
    largest = {(entry.method, entry.cell): entry for entry in sorted(rows, key=lambda entry: entry.start)}

    def tune(case: Any, entry: Entry) -> list[float]:
        longer = studies[longest(case)] if longest(case) != case else None
        return studies[case].rates(str(entry), stages_of(case, entry), args.tune or max(budgets), longer)

    def final(job: Job) -> list[str]:
        return studies[job.case].final(stages_of(job.case, job.entry), rates[job.case, job.entry], job.budget, job.seed)

    with ThreadPoolExecutor(args.jobs) as pool:
        pairs = {(case, row): (tuned_at(case), largest[row.method, row.cell]) for case, row in product(studies, rows)}
        tuned = {pair: pool.submit(tune, *pair) for pair in dict.fromkeys(pairs.values())}
        rates = {key: tuned[pair].result() for key, pair in pairs.items()}
        jobs = [Job(*parts) for parts in product(studies, rows, budgets, args.seeds)]
        names = dict(zip(jobs, pool.map(final, jobs), strict=True))
    return Conducted(args, studies, rows, rates, names)
