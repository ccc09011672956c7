#!/usr/bin/env python3
"""SMT with every memory head and cell on one text: losses and the health of the memory, as Markdown.

    python scripts/prepare_shakespeare.py --destdir data-bin/shakespeare
    python benchmarks/variants.py data-bin/shakespeare --runs runs/variants --output docs/variants.md

Each run is an ordinary fairseq-train of `smt_lm_small` with another `--cell` or `--memory-head`; a run that is there is
reused, so that an interrupted study goes on. Figures are those of the last validation, medians over the seeds.
"""

import argparse
import statistics
import sys
from pathlib import Path

from report import add_output_flag, emit
from runs import Runs

COMMON = """--task smt_lm --tokens-per-sample 128 --add-bos-token --arch smt_lm_small --criterion smt
    --optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1 --batch-size 8 --batch-size-valid 64
    --lr-scheduler tri_stage --phase-ratio (0.0125,0.5875,0.4) --final-lr-scale 0.05"""
COLUMNS = {
    "rnn_nll": "RNN",
    "ceiling_nll": "ceiling",
    "one_step_error": "one-step error",
    "drift_64": "drift after 64 steps",
    "label_variance": "label variance",
    "effective_rank": "effective rank",
    "cpu_seconds": "CPU seconds",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-preprocess")
    parser.add_argument("--cells", nargs="+", default=["mlp", "transformer", "gru"])
    parser.add_argument("--heads", nargs="+", default=["projection"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--runs", type=Path, default=Path("runs/variants"), help="where runs are kept")
    add_output_flag(parser)
    args = parser.parse_args()
    if not (args.data / "dict.txt").is_file():
        parser.error(f"{args.data / 'dict.txt'} does not exist: DATA must be a folder written by fairseq-preprocess")
    lines = [
        f"`python {' '.join(sys.argv)}`: {args.updates} updates of 8 × 128 symbols, medians of seeds "
        f"{', '.join(map(str, args.seeds))}; losses in bits per symbol, errors over the label variance.",
        "",
        f"| cell | head | {' | '.join(COLUMNS.values())} |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    runs = Runs(args.runs, [str(args.data)], COMMON)
    for head in args.heads:
        for cell in args.cells:
            found = [
                runs.train(
                    f"{cell}-{head}-{args.updates}-{args.lr}-{seed}",
                    f"--cell {cell} --memory-head {head} --lr {args.lr} --seed {seed}",
                    args.updates,
                )
                for seed in args.seeds
            ]
            medians = [f"{statistics.median(run[name] for run in found):.3g}" for name in COLUMNS]
            lines.append(f"| {cell} | {head} | {' | '.join(medians)} |")
    text = "\n".join(lines) + "\n"
    emit(text, args.output)


if __name__ == "__main__":
    main()
