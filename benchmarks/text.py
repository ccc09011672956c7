#!/usr/bin/env python3
"""SMT, DMT and their baselines on one text at equal CPU-seconds. Writes Markdown.

    python scripts/prepare_shakespeare.py --destdir data-bin/shakespeare
    python benchmarks/text.py data-bin/shakespeare --output runs/text.md

Every method first tries three learning rates under the budget --tune on the validation split, then runs with the best
one under every budget of --budgets and for every seed, and is scored by fairseq-eval-lm on the test split. A budget
counts the updates only: their number follows from the CPU time of one, measured before. Runs are kept in --runs; an
interrupted study goes on. The learning rates found are in RUNS/rates.json; a method that has some there is not tuned.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from report import add_output_flag, add_run_flags, emit, median_of
from runs import Runs
from study import Stage, Study, lstm

BLOCKS = "--task smt_lm --tokens-per-sample 128 --add-bos-token"
COMMON = f"""{BLOCKS} --optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1 --batch-size-valid 64
    --lr-scheduler tri_stage --phase-ratio (0.0125,0.5875,0.4) --final-lr-scale 0.05"""
OURS = "--arch smt_lm_small"
TEACHER = "--trunk-width 64"  # a minute's budget goes further with it than with the 128 of smt_lm_small


SMT = Stage("smt", f"{OURS} {TEACHER} --criterion smt --batch-size 8", (0.004, 0.008, 0.016), "ceiling_nll", 0.25)
DMT = Stage(
    "dmt", f"{OURS} {TEACHER} --criterion dmt --train rnn --batch-size 16", (0.005, 0.01, 0.02), "rnn_nll", 0.75
)
LOOSE = replace(DMT, name="dmt-loose", flags=f"{DMT.flags} --drift-weight 0.03")
PAPER = Stage(
    "dmt-paper",
    f"{DMT.flags} --rollout sequential --drift-weight 10 --drift-backprop 1 --ce-backprop 0",
    (0.001, 0.003, 0.01),
    "rnn_nll",
    0.5,
)
BPTT = Stage(
    "bptt", f"{OURS} --memory-head none --criterion cross_entropy --batch-size 16", (0.002, 0.004, 0.008), "loss"
)
CHUNKED = Stage(
    "chunked-bptt",
    f"{OURS} --memory-head none --criterion chunked_bptt --batch-size 16",
    (0.004, 0.008, 0.016),
    "rnn_nll",
)
LSTM = lstm(256, "--batch-size 16", (0.004, 0.008, 0.016), "loss")
METHODS: dict[str, tuple[Stage, ...]] = {
    "SMT → DMT": (SMT, DMT),
    "SMT → DMT, drift × 0.03": (SMT, LOOSE),
    "BPTT": (BPTT,),
    "SMT → DMT, the paper's": (replace(SMT, share=0.5), PAPER),
    "chunked BPTT": (CHUNKED,),
    "SMT → DMT → BPTT": (SMT, replace(DMT, share=0.25), replace(BPTT, rates=(0.001, 0.002, 0.004), share=0.5)),
    "LSTM (fairseq's lstm_lm, 1 × 256)": (LSTM,),
}


def test_bits(runs: Runs, name: str, what: str = "rnn") -> float:
    """Bits per test symbol of a run's model alone, or of its ceiling."""
    overrides = {"rnn": "{'memory_head': 'none'}", "ceiling": "{'score_with': 'teacher'}"}
    return runs.test_bits(name, BLOCKS, what, "{}" if name.startswith("lstm") else overrides[what])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-preprocess")
    parser.add_argument("--tune", type=float, default=120, help="CPU-seconds of a method for each learning rate")
    parser.add_argument("--budgets", nargs="+", type=float, default=[120, 360], help="CPU-seconds of the final runs")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD")
    add_run_flags(parser, "runs/text")
    add_output_flag(parser)
    args = parser.parse_args()
    if not (args.data / "dict.txt").is_file():
        parser.error(f"{args.data / 'dict.txt'} does not exist: DATA must be a folder written by fairseq-preprocess")
    study = Study(Runs(args.runs, [str(args.data)], COMMON, args.gpu))
    methods = {name: METHODS[name] for name in args.methods}
    with ThreadPoolExecutor(args.jobs) as pool:
        rates = dict(zip(methods, pool.map(lambda m: study.rates(m, methods[m], args.tune), methods), strict=True))
        lines = [
            f"`python {' '.join(sys.argv)}`: bits per test symbol, median (all) of seeds "
            f"{', '.join(map(str, args.seeds))}; CPU-seconds of all stages together.",
            "",
            f"| model | learning rates | {' | '.join(f'{budget:g} s' for budget in args.budgets)} |",
            "|---" * (len(args.budgets) + 2) + "|",
        ]
        cells: dict[str, list[str]] = {}
        for budget in args.budgets:
            jobs = [(name, seed) for name in methods for seed in args.seeds]
            runs = [pool.submit(study.final, methods[name], rates[name], budget, seed) for name, seed in jobs]
            found = {job: run.result() for job, run in zip(jobs, runs, strict=True)}
            rows = {name: [test_bits(study.runs, found[name, seed][-1]) for seed in args.seeds] for name in methods}
            if "SMT → DMT" in methods:
                stages = [found["SMT → DMT", seed][0] for seed in args.seeds]
                rows["after SMT alone (a quarter of the seconds)"] = [test_bits(study.runs, name) for name in stages]
                rows["ceiling (a quarter of the seconds)"] = [test_bits(study.runs, n, "ceiling") for n in stages]
            for name, values in rows.items():
                cells.setdefault(name, []).append(median_of(values, 3))
        for name, values in cells.items():
            used = ", ".join(f"{rate:g}" for rate in rates.get(name, []))
            lines.append(f"| {name} | {used} | {' | '.join(values)} |")
    text = "\n".join(lines) + "\n"
    emit(text, args.output)


if __name__ == "__main__":
    main()
