#!/usr/bin/env python3
"""SMT, DMT and their baselines on one text at equal seconds of training. Writes Markdown, and a picture.

    python scripts/prepare_shakespeare.py --destdir data-bin/shakespeare
    python benchmarks/text.py data-bin/shakespeare --output runs/text.md --figure runs/text.png
    python benchmarks/text.py data-bin/shakespeare --tokens-per-sample 1024 --curriculum-start 0 32

Every method first tries learning rates under the budget --tune on the validation split, more of them while the best is
at the edge, then runs with the best one under every budget of --budgets and for every seed, and is scored by
fairseq-eval-lm on the test split, in blocks of --tokens-per-sample, each from the initial memory. Quality along a run
is that of a part of the validation split. A budget counts updates only (`cost_seconds`), all stages together: their
number follows from the time of one. Runs are kept in --runs; an interrupted study goes on. The learning rates found
are in rates.json there; a method that has some is not tuned.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from methods import METHODS, Setting, Stage, bptt, rows_of_smt, smt_dmt, stages_of
from report import median_of, table
from runs import Runs
from study import Study, add_study_flags, conduct

COMMON = """--optimizer adam --adam-betas (0.9,0.95) --weight-decay 0.01 --clip-norm 1 --num-workers 0
    --lr-scheduler tri_stage --phase-ratio (0.0125,0.5875,0.4) --final-lr-scale 0.05"""
VALIDATED = 16384
"""Tokens of each validation along a run."""

OVERRIDES = {"rnn": "{'memory_head': 'none'}", "ceiling": "{'score_with': 'teacher'}"}


def paper(s: Setting, cell: str) -> tuple[Stage, ...]:
    """The paper's DMT, whose budget SMT has half of."""
    flags = "--rollout sequential --drift-weight 10 --drift-backprop 1 --ce-backprop 0"
    return smt_dmt(replace(s, share=0.5), cell, dmt="dmt-paper", more=flags)


def then_bptt(s: Setting, cell: str) -> tuple[Stage, ...]:
    """BPTT that starts where DMT ended."""
    smt, dmt = smt_dmt(s, cell)
    (last,) = bptt(s, cell)
    return smt, replace(dmt, share=0.25), replace(last, rates=(0.001, 0.002, 0.004), share=0.75 - s.share)


ALL = METHODS | {
    "SMT → DMT, warm": partial(smt_dmt, dmt="dmt-warm", more="--rollout warm"),
    "SMT → DMT, drift weight 1": partial(smt_dmt, dmt="dmt-tight", more="--drift-weight 1"),
    "SMT → DMT, the paper's": paper,
    "SMT → DMT → BPTT": then_bptt,
}


def setting_of(length: int, rows: int, texts: int, valid_batches: int) -> Setting:
    """Blocks of T in batches of B, and of B / 2 for SMT; carried memory cuts as many tokens into blocks of 32."""
    cut = min(32, length)
    return Setting(
        length,
        ours="--arch smt_lm_small",
        rows=f"--batch-size {rows}",
        smt=f"--batch-size {rows_of_smt(rows)}",
        dmt=f"--batch-size {rows}",
        cut=cut,
        cut_rows=rows * length // cut,
        texts=texts,
        valid_batches=valid_batches,
        share=0.15,
    )


def tokens_of(data: Path, split: str) -> int:
    """Tokens of a split, as its index of fairseq's counts them."""
    from fairseq.data.indexed_dataset import make_dataset

    dataset = make_dataset(str(data / split), impl="mmap")  # whose sizes live as long as it does
    return int(dataset.sizes.sum())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-preprocess")
    parser.add_argument("--tokens-per-sample", type=int, default=128, help="T")
    parser.add_argument("--batch-size", type=int, help="B; 2048 / T unless given")
    parser.add_argument("--budgets", nargs="+", type=float, default=[120, 360], help="seconds of the final runs")
    add_study_flags(parser, list(ALL), "runs/text", starts=[0])
    args = parser.parse_args(argv)
    if not (args.data / "dict.txt").is_file():
        parser.error(f"{args.data / 'dict.txt'} does not exist: DATA must be a folder written by fairseq-preprocess")
    length = args.tokens_per_sample
    rows = args.batch_size or max(1, 2048 // length)
    at_once = max(1, min(64, VALIDATED // length))
    texts = max(1, tokens_of(args.data, "valid") // length)
    setting = setting_of(length, rows, texts, max(1, VALIDATED // (length * at_once)))
    blocks = f"--task smt_lm --tokens-per-sample {length} --add-bos-token"
    common = f"{blocks} {COMMON} --batch-size-valid {at_once} {setting.valid}"
    runs = Runs(args.runs / f"{length}x{rows}", [str(args.data)], common, args.gpu)
    studies = {"": Study(runs, length, args.validations)}
    found = conduct(args, studies, lambda case, entry: stages_of(ALL[entry.method], setting, entry), args.budgets)

    def bits(entry, budget: float, what: str = "rnn", stage: int = -1) -> str:
        overrides = OVERRIDES[what] if entry.cell else "{}"
        score = partial(runs.test_bits, blocks=f"{blocks} --batch-size {at_once}", what=what, overrides=overrides)
        return median_of(found.each("", entry, budget, lambda path: score(path.parent.name), stage), 3)

    lines = []
    for entry in found.entries:
        lines.append([str(entry), found.used("", entry), *(bits(entry, budget) for budget in args.budgets)])
        if entry.method == "SMT → DMT":
            for name, what in ((f"{entry}: after SMT alone", "rnn"), (f"{entry}: ceiling", "ceiling")):
                lines.append([name, "", *(bits(entry, budget, what, 0) for budget in args.budgets)])
    head = [
        f"`python {' '.join(sys.argv)}`: bits per test symbol in blocks of {length}, batches of {rows}, median (all) "
        f"of seeds {', '.join(map(str, args.seeds))}; seconds of all stages together.",
        "",
        *table(["model", "learning rates", *(f"{budget:g} s" for budget in args.budgets)], lines),
    ]
    found.report(head, setting.measure, "bits per symbol", max(args.budgets), args.level)


if __name__ == "__main__":
    main()
