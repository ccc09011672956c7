#!/usr/bin/env python3
"""SMT with every memory head and cell on one text: losses and the health of the memory, as Markdown.

    python scripts/prepare_shakespeare.py --destdir data-bin/shakespeare
    python benchmarks/variants.py data-bin/shakespeare --runs runs/variants --output docs/variants.md

Each run is an ordinary fairseq-train of `smt_lm_small` with another `--cell` or `--memory-head`; a run that is there is
reused, so that an interrupted study goes on. Figures are those of the last validation, medians over the seeds.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COLUMNS = {
    "rnn_nll": "RNN",
    "ceiling_nll": "ceiling",
    "one_step_error": "one-step error",
    "drift_64": "drift after 64 steps",
    "label_variance": "label variance",
    "effective_rank": "effective rank",
    "seconds": "CPU seconds",
}


def command(args: argparse.Namespace, cell: str, head: str, seed: int) -> list[str]:
    """The fairseq-train line of one run."""
    beside = Path(sys.executable).parent
    program = shutil.which("fairseq-train", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise SystemExit("variants: fairseq is not installed: run `pip install ve-fairseq` (Python 3.11 or 3.12).")
    flags = f"""
        --task smt_lm --tokens-per-sample 128 --add-bos-token --arch smt_lm_small --criterion smt --cpu
        --cell {cell} --memory-head {head} --seed {seed} --max-update {args.updates} --max-epoch 1000
        --optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1 --lr {args.lr}
        --lr-scheduler tri_stage --phase-ratio (0.0125,0.5875,0.4) --final-lr-scale 0.05
        --batch-size 8 --batch-size-valid 64 --validate-interval-updates {args.updates} --no-save
        --log-format json --log-interval 100
    """.split()
    return [program, str(args.data), "--user-dir", str(ROOT / "fairseq_smt"), *flags]


def measure(args: argparse.Namespace, cell: str, head: str, seed: int) -> dict[str, float]:
    """Train one variant, or read what an earlier call measured; the log stays beside the figures."""
    folder = args.runs / f"{cell}-{head}-{args.updates}-{args.lr}-{seed}"
    result = folder / "result.json"
    if not result.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"variants: {folder.name}", file=sys.stderr)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(folder / "train.log", "w") as log:
            done = subprocess.run(
                command(args, cell, head, seed),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            )
        text = (folder / "train.log").read_text()
        valid = re.findall(r"\| valid \| (\{.*\})", text)
        if done.returncode or not valid:
            raise SystemExit(f"variants: {folder.name} failed; see {folder / 'train.log'}:\n{text[-800:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures = {k.removeprefix("valid_"): float(v) for k, v in json.loads(valid[-1]).items() if k != "epoch"}
        figures["seconds"] = after.ru_utime - before.ru_utime
        result.write_text(json.dumps(figures, indent=1))
    return json.loads(result.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-preprocess")
    parser.add_argument("--cells", nargs="+", default=["mlp", "transformer", "gru"])
    parser.add_argument("--heads", nargs="+", default=["projection"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--runs", type=Path, default=Path("runs/variants"), help="where runs are kept")
    parser.add_argument("--output", type=Path, help="Markdown file; stdout unless given")
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
    for head in args.heads:
        for cell in args.cells:
            runs = [measure(args, cell, head, seed) for seed in args.seeds]
            medians = [f"{statistics.median(run[name] for run in runs):.3g}" for name in COLUMNS]
            lines.append(f"| {cell} | {head} | {' | '.join(medians)} |")
    text = "\n".join(lines) + "\n"
    if args.output:
        args.output.write_text(text)
        print(f"wrote {args.output}")
    else:
        print(text)


if __name__ == "__main__":
    main()
