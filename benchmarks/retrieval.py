#!/usr/bin/env python3
"""SMT, DMT and their baselines on the retrieval probe at equal CPU-seconds. Writes Markdown.

    python benchmarks/retrieval.py --output docs/retrieval.md

Every method, with and without a length curriculum, tries three learning rates at --tune-length with one seed, and then
runs with the best one for every length and seed. Figures are accuracies of the RNN, from its initial memory, on 512
sequences not trained on; chance is 1 in 8. Runs are kept in --runs; an interrupted study goes on.
"""

import argparse
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from report import add_output_flag, emit
from runs import Runs
from study import Stage, Study

COMMON = """--task smt_probe --probe retrieval --probe-epoch-size 16384 --batch-size 16 --batch-size-valid 128
    --optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1
    --lr-scheduler tri_stage --phase-ratio (0.02,0.68,0.3) --final-lr-scale 0.05"""
OURS = """--arch smt_lm_small --memory-width 32 --cell-hidden 128 --trunk-width 64
    --future far --futures 1 --future-width 32"""
SMT = Stage(
    "smt",
    f"{OURS} --criterion smt --future-positions 16 --readout-positions 1 --dynamics-weight 0.05 --pursuit-weight 0.3 "
    "--dynamics-wait-below 2.5 --dynamics-ramp-updates 200",
    (0.002, 0.005, 0.01),
    "ceiling_accuracy",
    0.7,
)
DMT = Stage(
    "dmt",
    f"{OURS} --criterion dmt --train rnn --chunk-lengths adaptive --drift-backprop 1 --ce-backprop 0",
    (0.001, 0.003, 0.01),
    "rnn_accuracy",
    0.3,
)
BPTT = Stage("bptt", f"{OURS} --memory-head none --criterion cross_entropy", (0.0005, 0.002, 0.005), "accuracy")
CHUNKED = Stage(
    "chunked-bptt", f"{OURS} --memory-head none --criterion chunked_bptt", (0.0005, 0.002, 0.005), "rnn_accuracy"
)
LSTM = Stage(
    "lstm",
    "--arch lstm_lm --decoder-embed-dim 64 --decoder-hidden-size 128 --decoder-out-embed-dim 128 --decoder-layers 1 "
    "--dropout 0 --criterion cross_entropy",
    (0.002, 0.005, 0.01),
    "accuracy",
)
METHODS = {"SMT → DMT": (SMT, DMT), "BPTT": (BPTT,), "chunked BPTT": (CHUNKED,), "LSTM": (LSTM,)}


def methods() -> dict[str, tuple[Stage, ...]]:
    """All methods, plain and with a curriculum in their first stage."""
    found = {}
    for name, (first, *rest) in METHODS.items():
        found[name] = (first, *rest)
        grown = replace(first, name=f"{first.name}-grown", flags=f"{first.flags} --curriculum-start 8")
        found[f"{name}, curriculum"] = (grown, *rest)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="+", type=int, default=[64, 128], help="T")
    parser.add_argument("--tune-length", type=int, default=64, help="T at which learning rates are chosen")
    parser.add_argument("--budget", type=float, default=60, help="CPU-seconds of a run, all stages together")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs/retrieval"), help="where runs are kept")
    add_output_flag(parser)
    args = parser.parse_args()

    def study(length: int) -> Study:
        return Study(Runs(args.runs / str(length), [], f"{COMMON} --tokens-per-sample {length}"))

    studies = {length: study(length) for length in {*args.lengths, args.tune_length}}
    with ThreadPoolExecutor(args.jobs) as pool:
        found = methods()
        tuned = pool.map(lambda stages: studies[args.tune_length].tune(stages, args.budget), found.values())
        rates = dict(zip(found, tuned, strict=True))
        jobs = [(length, name, seed) for length in args.lengths for name in found for seed in args.seeds]
        runs = [
            pool.submit(studies[length].final, found[name], rates[name], args.budget, seed)
            for length, name, seed in jobs
        ]
        names = {job: run.result() for job, run in zip(jobs, runs, strict=True)}
    lines = [
        f"`python {' '.join(sys.argv)}`: accuracy after {args.budget:g} CPU-seconds, median (all) of seeds "
        f"{', '.join(map(str, args.seeds))}.",
        "",
        f"| method | learning rates | {' | '.join(f'T = {length}' for length in args.lengths)} |",
        "|---" * (len(args.lengths) + 2) + "|",
    ]

    def shown(length: int, name: str, stage: int, measure: str) -> str:
        values = [studies[length].runs.result(names[length, name, seed][stage])[measure] for seed in args.seeds]
        return f"{statistics.median(values):.2f} ({', '.join(f'{v:.2f}' for v in values)})"

    for name, stages in found.items():
        used = ", ".join(f"{rate:g}" for rate in rates[name])
        if len(stages) > 1:
            for measure, what in (("ceiling_accuracy", "teacher"), ("rnn_accuracy", "RNN after SMT alone")):
                cells = [shown(length, name, 0, measure) for length in args.lengths]
                lines.append(f"| {name}: {what} | | {' | '.join(cells)} |")
        cells = [shown(length, name, -1, stages[-1].measure) for length in args.lengths]
        lines.append(f"| {name} | {used} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    emit(text, args.output)


if __name__ == "__main__":
    main()
