#!/usr/bin/env python3
"""SMT, DMT and their baselines on probes of memory at equal CPU-seconds. Writes Markdown.

    python benchmarks/probes.py --cases retrieval:64 retrieval:128 --output runs/retrieval.md

Every method tries three learning rates at the first length of each probe, with a length curriculum and one seed, and
then runs with the best one for every length and seed, with and without a curriculum. Figures are accuracies of the RNN,
from its initial memory, on 512 sequences not trained on. Runs are kept in --runs; an interrupted study goes on. The
learning rates found are in RUNS/PROBE-LENGTH/rates.json; a method that has some there is not tuned.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from plots import accuracy_plot
from report import add_output_flag, add_run_flags, emit, median_of
from runs import Runs, kept
from scoring import logits_of
from study import Stage, Study, lstm

COMMON = """--task smt_probe --probe-epoch-size 16384 --batch-size 16 --batch-size-valid 128
    --optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1
    --lr-scheduler tri_stage --phase-ratio (0.02,0.68,0.3) --final-lr-scale 0.05"""
OURS = "--arch smt_lm_small --memory-width 32 --cell-hidden 128 --trunk-width 64 --trunk-layers 1 --future-width 32"


@dataclass(frozen=True)
class Recipe:
    """What SMT → DMT needs to know about a probe: flags, and which share of the seconds SMT has."""

    future: str
    smt: str
    dmt: str
    share: float


FAR = "--future far --futures 1"
WINDOW = "--future window --futures 0"  # sees the inputs that decide the answer
MANY = "--batch-size 32 --future-weight 2 --readout-positions 8"
ADAPTIVE = "--chunk-lengths adaptive --drift-backprop 1 --ce-backprop 0"
THROUGH = "--chunk 16 --drift-backprop 16 --ce-backprop 16 --batch-size 32"
PROBES = {
    "retrieval": Recipe(FAR, "--future-positions 16 --readout-positions 1 --dynamics-wait-below 2.5", ADAPTIVE, 0.7),
    "copy": Recipe(FAR, f"--future-positions 16 {MANY} --dynamics-wait-below 2.5", THROUGH, 0.5),
    "stack": Recipe(WINDOW, f"{MANY} --dynamics-wait-below 2.5", f"{THROUGH} --drift-weight 0.1", 0.4),
    "keys_values": Recipe(FAR, f"--future-positions 16 {MANY} --dynamics-wait-below 2.5", THROUGH, 0.5),
    "arithmetic": Recipe(WINDOW, f"{MANY} --dynamics-wait-below 2.0", f"{THROUGH} --drift-weight 0.1", 0.4),
    "parity": Recipe(WINDOW, f"{MANY} --dynamics-wait-below 0.9", f"{THROUGH} --drift-weight 0.1", 0.4),
}
"""The bits that the dynamics loss waits for are those below which the future predictor uses the memory."""

SMT = Stage(
    "smt",
    f"{OURS} --memory-head scan --criterion smt --dynamics-weight 0.05 --pursuit-weight 0.3 "
    "--dynamics-ramp-updates 200",
    (0.002, 0.005, 0.01),
    "future_nll",
)
DMT = Stage("dmt", f"{OURS} --memory-head scan --criterion dmt --train rnn", (0.001, 0.003, 0.01), "rnn_accuracy")
BPTT = Stage("bptt", f"{OURS} --memory-head none --criterion cross_entropy", (0.0005, 0.002, 0.005), "accuracy")
CHUNKED = Stage(
    "chunked-bptt", f"{OURS} --memory-head none --criterion chunked_bptt", (0.0005, 0.002, 0.005), "rnn_accuracy"
)
LSTM = lstm(128, "", (0.002, 0.005, 0.01), "accuracy")
KINDS = ("", ", curriculum")
METHODS = {"SMT → DMT": (SMT, DMT), "BPTT": (BPTT,), "chunked BPTT": (CHUNKED,), "LSTM": (LSTM,)}


def stages_of(method: str, probe: str, start: int | None) -> tuple[Stage, ...]:
    """The stages of a method on a probe; its first one has a curriculum from `start` positions, if given."""
    stages = METHODS[method]
    if stages[0] is SMT:
        recipe = PROBES[probe]
        smt = replace(SMT, flags=f"{SMT.flags} {recipe.future} {recipe.smt}", share=recipe.share)
        stages = (smt, replace(DMT, flags=f"{DMT.flags} {recipe.future} {recipe.dmt}", share=1 - recipe.share))
    if start is None:
        return stages
    first, *rest = stages
    return (replace(first, name=f"{first.name}-grown", flags=f"{first.flags} --curriculum-start {start}"), *rest)


@dataclass(frozen=True)
class Case:
    """A probe at a length."""

    probe: str
    length: int

    def __str__(self) -> str:
        return f"{self.probe}, T = {self.length}"


def parse_case(text: str) -> Case:
    """PROBE:LENGTH."""
    probe, _, length = text.partition(":")
    if probe not in PROBES or not length.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not PROBE:LENGTH with a probe of {', '.join(PROBES)}")
    return Case(probe, int(length))


def accuracy_at(checkpoint: Path, length: int, overrides: dict[str, Any]) -> float:
    """Share of the targets of the validation sequences that a model gets right at another length."""
    correct = asked = 0
    for batch, logits in logits_of(checkpoint, "valid", overrides | {"tokens_per_sample": length}):
        correct += int(((logits.argmax(-1) == batch.targets) & batch.asked).sum())
        asked += int(batch.asked.sum())
    return correct / asked


def table(args: argparse.Namespace, title: str, cell: Callable[[Case, str, str, int, str], str]) -> list[str]:
    """A row for every method and kind, and for the stages of SMT → DMT; `cell` is given a stage and its measure."""
    lines = [f"| {title} | {' | '.join(map(str, args.cases))} |", "|---" * (len(args.cases) + 1) + "|"]
    for method, kind in product(args.methods, KINDS):
        rows = [("", -1, METHODS[method][-1].measure)]
        if METHODS[method][0] is SMT:
            rows = [(": teacher", 0, "ceiling_accuracy"), (": RNN after SMT alone", 0, "rnn_accuracy"), *rows]
        for what, stage, measure in rows:
            cells = [cell(case, method, kind, stage, measure) for case in args.cases]
            lines.append(f"| {method}{kind}{what} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", type=parse_case, required=True, metavar="PROBE:LENGTH")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--budget", type=float, default=60, help="CPU-seconds of a run, all stages together")
    parser.add_argument("--longer", nargs="+", type=int, default=[], metavar="N", help="also score at N × the length")
    parser.add_argument("--curriculum-start", type=int, default=8, help="positions at which curricula begin")
    parser.add_argument("--figure", type=Path, help="PNG of the accuracies")
    add_run_flags(parser, "runs/probes")
    add_output_flag(parser)
    args = parser.parse_args()

    def study(case: Case) -> Study:
        common = f"{COMMON} --probe {case.probe} --tokens-per-sample {case.length}"
        return Study(Runs(args.runs / f"{case.probe}-{case.length}", [], common, args.gpu))

    studies = {case: study(case) for case in args.cases}
    tuned_at = {case.probe: case for case in reversed(args.cases)}  # the first length of each probe

    def tune(probe: str, method: str) -> list[float]:
        stages = stages_of(method, probe, args.curriculum_start)
        return studies[tuned_at[probe]].rates(method, stages, args.budget)

    def final(case: Case, method: str, kind: str, seed: int) -> list[str]:
        stages = stages_of(method, case.probe, args.curriculum_start if kind else None)
        return studies[case].final(stages, rates[case.probe, method], args.budget, seed)

    with ThreadPoolExecutor(args.jobs) as pool:
        tuned = {key: pool.submit(tune, *key) for key in product(tuned_at, args.methods)}
        rates = {key: run.result() for key, run in tuned.items()}
        runs = {job: pool.submit(final, *job) for job in product(args.cases, args.methods, KINDS, args.seeds)}
        names = {job: run.result() for job, run in runs.items()}

    def results(case: Case, method: str, kind: str, stage: int, measure: str) -> list[float]:
        return [studies[case].runs.result(names[case, method, kind, seed][stage])[measure] for seed in args.seeds]

    def at_times(times: int, case: Case, method: str, kind: str, stage: int, measure: str) -> str:
        overrides = {"score_with": "teacher"} if measure == "ceiling_accuracy" else {}
        found = []
        for seed in args.seeds:
            path = studies[case].runs.checkpoint(names[case, method, kind, seed][stage])
            score = path.with_name(f"{measure}-times-{times}.json")
            found.append(kept(score, lambda p=path: accuracy_at(p, times * case.length, overrides)))
        return median_of(found, 2)

    lines = [
        f"`python {' '.join(sys.argv)}`: accuracy after {args.budget:g} CPU-seconds, median (all) of seeds "
        f"{', '.join(map(str, args.seeds))}.",
        "",
        *table(args, "method", lambda *cell: median_of(results(*cell), 2)),
    ]
    for times in args.longer:
        lines += ["", *table(args, f"{times} times the length trained on", partial(at_times, times))]
    lines += ["", "Learning rates, of every stage:", ""]
    for probe, case in tuned_at.items():
        used = [f"{name} {', '.join(f'{rate:g}' for rate in rates[probe, name])}" for name in args.methods]
        lines.append(f"- {probe}, chosen at T = {case.length}: {'; '.join(used)}")
    emit("\n".join(lines) + "\n", args.output)
    if args.figure:
        shown = {
            f"{method}{kind}": [results(case, method, kind, -1, METHODS[method][-1].measure) for case in args.cases]
            for method, kind in product(args.methods, KINDS)
        }
        accuracy_plot(args.figure, [str(case) for case in args.cases], shown)
        print(f"wrote {args.figure}")


if __name__ == "__main__":
    main()
