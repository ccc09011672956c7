#!/usr/bin/env python3
"""SMT, and DMT after it, with every cell and memory head on one text: losses and the health of the memory, as Markdown.

    python scripts/prepare_shakespeare.py --destdir data-bin/shakespeare
    python benchmarks/variants.py data-bin/shakespeare --output runs/variants.md

Each run is an ordinary fairseq-train of `smt_lm_small` with another `--cell` or `--memory-head`; a run that is there is
reused, so that an interrupted study goes on. Figures are those of the last validation after SMT, and of the RNN and its
drift after DMT as well; medians over the seeds.
"""

import argparse
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from report import add_output_flag, add_run_flags, emit
from runs import Runs

COMMON = """--task smt_lm --tokens-per-sample 128 --add-bos-token --arch smt_lm_small
    --optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1 --batch-size-valid 64
    --lr-scheduler tri_stage --phase-ratio (0.0125,0.5875,0.4) --final-lr-scale 0.05"""
COLUMNS = {
    "rnn_nll": "RNN",
    "ceiling_nll": "ceiling",
    "one_step_error": "one-step error",
    "drift_64": "drift after 64 steps",
    "label_variance": "label variance",
    "effective_rank": "effective rank",
    "seconds": "seconds",
}
AFTER_DMT = {"rnn_nll": "RNN after DMT", "drift_64": "drift after DMT"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-preprocess")
    parser.add_argument("--cells", nargs="+", default=["mlp", "transformer", "gru"])
    parser.add_argument("--heads", nargs="+", default=["projection"])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--dmt-updates", type=int, default=500)
    parser.add_argument("--dmt-lr", type=float, default=0.005)
    add_run_flags(parser, "runs/variants")
    add_output_flag(parser)
    args = parser.parse_args()
    if not (args.data / "dict.txt").is_file():
        parser.error(f"{args.data / 'dict.txt'} does not exist: DATA must be a folder written by fairseq-preprocess")
    runs = Runs(args.runs, [str(args.data)], COMMON, args.gpu)

    def train(cell: str, head: str, seed: int) -> tuple[dict, dict]:
        """Figures after SMT and after DMT."""
        smt = f"{cell}-{head}-{args.updates}-{args.lr}-{seed}"
        flags = f"--cell {cell} --memory-head {head} --seed {seed}"
        first = runs.train(smt, f"{flags} --criterion smt --batch-size 8 --lr {args.lr}", args.updates)
        flags += f" --criterion dmt --train rnn --batch-size 16 --lr {args.dmt_lr}"
        flags += f" --finetune-from-model {runs.checkpoint(smt)}"
        return first, runs.train(f"{smt}+dmt-{args.dmt_updates}-{args.dmt_lr}", flags, args.dmt_updates)

    with ThreadPoolExecutor(args.jobs) as pool:
        cases = [(cell, head) for head in args.heads for cell in args.cells]
        jobs = {(*case, seed): pool.submit(train, *case, seed) for case in cases for seed in args.seeds}
        found = {job: run.result() for job, run in jobs.items()}
    lines = [
        f"`python {' '.join(sys.argv)}`: {args.updates} updates of SMT on 8 × 128 symbols, {args.dmt_updates} of DMT "
        f"on 16 × 128; medians of seeds {', '.join(map(str, args.seeds))}; losses in bits per symbol, errors over the "
        "label variance, CPU seconds of SMT.",
        "",
        f"| cell | head | {' | '.join([*COLUMNS.values(), *AFTER_DMT.values()])} |",
        "|---" * (len(COLUMNS) + len(AFTER_DMT) + 2) + "|",
    ]
    for cell, head in cases:
        medians = [
            statistics.median(found[cell, head, seed][stage][name] for seed in args.seeds)
            for stage, names in enumerate((COLUMNS, AFTER_DMT))
            for name in names
        ]
        lines.append(f"| {cell} | {head} | {' | '.join(f'{median:.3g}' for median in medians)} |")
    text = "\n".join(lines) + "\n"
    emit(text, args.output)


if __name__ == "__main__":
    main()
