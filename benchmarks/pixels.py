#!/usr/bin/env python3
"""SMT, DMT and their baselines on images, pixel by pixel, at equal seconds of training. Writes Markdown, and pictures.

    fairseq-smt-prepare-pixels --destdir data-bin/digits
    python benchmarks/pixels.py data-bin/digits --budget 60 --output runs/digits.md --completed runs/digits.png

DATA is a folder of fairseq-smt-prepare-pixels. Every method tries learning rates on the validation images with one
seed, more of them while the best is at the edge, and runs with the best one for every seed. Figures are bits per pixel
of the test images, by image row, each image from the initial memory. --completed shows what the RNNs of the first seed
make of the lower halves (fairseq-smt-complete-pixels). With --target class the class after the last pixel is all that
is asked for, and figures are accuracies. Runs are kept in --runs; an interrupted study goes on.
"""

import argparse
import math
import statistics
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fairseq_smt.core.losses import negative_log_likelihood
from fairseq_smt.data.pixels import PixelFormat
from methods import FAIRSEQ, METHODS, Build, Setting, Stage, rows_of_smt, smt_dmt, stages_of
from report import median_of, table
from runs import Runs, kept
from scoring import accuracy_of, logits_of
from study import Study, add_study_flags, conduct

COMMON = """--task smt_lm --sample-break-mode eos --batch-size-valid 64 --optimizer adam --adam-betas (0.9,0.95)
    --weight-decay 0.01 --clip-norm 1 --num-workers 0
    --lr-scheduler tri_stage --phase-ratio (0.0125,0.5875,0.4) --final-lr-scale 0.05"""
VALIDATED = 256
"""Images of each validation along a run."""


def with_head(s: Setting, cell: str, head: str) -> tuple[Stage, ...]:
    """SMT → DMT with another memory head."""
    other = replace(s, teacher=f"{s.teacher} --memory-head {head}")
    return smt_dmt(other, cell, smt=f"smt-{head}", dmt=f"dmt-{head}")


IN_ORDER = ("carried BPTT", "carried chunked BPTT")
ALL: dict[str, Build] = {name: build for name, build in METHODS.items() if name not in IN_ORDER}  # images have no order
ALL |= {f"SMT → DMT, {head}": partial(with_head, head=head) for head in ("scan", "projection")}
ALL.pop("SMT → DMT")


def setting_of(form: PixelFormat, rows: int) -> Setting:
    """DMT runs over the whole image with its gradient, as BPTT does; chunked BPTT has chunks of two image rows."""
    smt = f"--batch-size {rows_of_smt(rows)}"
    through = f"--rollout sequential --drift-backprop {form.length} --ce-backprop {form.length}"
    setting = Setting(
        form.length,
        ours="--arch smt_lm_small",
        rows=f"--batch-size {rows}",
        smt=f"{smt} --uniformity-weight 1",  # with the recipe's 0.001 the labels lie in three directions
        dmt=f"--batch-size {rows} {through}",
        chunk=f"--chunk {2 * form.width}",
        valid_batches=VALIDATED // 64,
        share=0.15,
    )
    if not form.classes:
        return setting
    teacher = "--trunk-layers 2 --future far --futures 1 --future-width 32"
    smt += " --future-positions 32 --future-weight 2 --readout-positions 1 --dynamics-weight 0.5 --pursuit-weight 0.3"
    return replace(
        setting, teacher=teacher, smt=smt, dmt=f"{setting.dmt} --drift-weight 1", quality="accuracy", share=0.5
    )


def bits_by_row(checkpoint: Path, form: PixelFormat, overrides: dict[str, Any]) -> list[float]:
    """Bits per pixel of each image row of the test split, by any language model of fairseq's."""
    losses = [
        negative_log_likelihood(logits, batch.targets, batch.asked)
        for batch, logits in logits_of(checkpoint, "test", overrides)
    ]
    bits = torch.cat(losses).mean(0) / math.log(2)
    return bits.view(form.height, form.width).mean(1).tolist()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-smt-prepare-pixels")
    parser.add_argument("--budget", type=float, default=60, help="seconds of a run, all stages together")
    parser.add_argument("--batch-size", type=int, default=16, help="B; SMT takes half")
    parser.add_argument("--target", choices=("pixels", "class"), default="pixels")
    parser.add_argument("--completed", type=Path, help="PNG of completed images")
    add_study_flags(parser, list(ALL), "runs/pixels", starts=[0])
    args = parser.parse_args(argv)
    form = PixelFormat.load(args.data)
    asks_class = args.target == "class"
    if asks_class != bool(form.classes):
        remedy = "with --classes" if asks_class else "without --classes"
        parser.error(f"--target {args.target}: make {args.data} by fairseq-smt-prepare-pixels {remedy}")
    if asks_class and (args.completed or args.curriculum_start != [0]):
        parser.error("--target class has neither --completed nor --curriculum-start")
    setting = setting_of(form, args.batch_size)
    common = f"{COMMON} --tokens-per-sample {form.length} {setting.valid}" + " --ask last" * asks_class
    studies = {"": Study(Runs(args.runs, [str(args.data)], common, args.gpu), form.length, args.validations)}
    found = conduct(args, studies, lambda case, entry: stages_of(ALL[entry.method], setting, entry), [args.budget])

    def scores(path: Path, teacher: bool) -> list[float]:
        """Bits per pixel of each image row, or the one accuracy."""
        overrides = {"data": str(args.data)} | ({"score_with": "teacher"} if teacher else {})
        score = path.with_name(f"test-{'teacher' if teacher else 'rnn'}.json")
        if asks_class:
            return kept(score, lambda: [accuracy_of(path, "test", overrides)])
        return kept(score, lambda: bits_by_row(path, form, overrides))

    lines = []
    for entry in found.entries:
        shown = [(str(entry), found.used("", entry), -1, False)]
        if entry.method.startswith("SMT"):
            shown = [(f"{entry}: ceiling", "", 0, True), (f"{entry}: RNN after SMT alone", "", 0, False), *shown]
        for name, rates, stage, teacher in shown:
            by_seed = found.each("", entry, args.budget, lambda path, teacher=teacher: scores(path, teacher), stage)
            by_row = [] if asks_class else [f"{statistics.median(row):.2f}" for row in zip(*by_seed, strict=True)]
            lines.append([name, rates, median_of([statistics.mean(b) for b in by_seed], 3), *by_row])
    what = f"accuracy of {form.classes} classes" if asks_class else "bits per pixel"
    rows = [] if asks_class else [str(row + 1) for row in range(form.height)]
    head = [
        f"`python {' '.join(sys.argv)}`: {what} after {form.height} × {form.width} pixels of {form.levels} grey levels "
        f"and {args.budget:g} seconds of training, median (all) of seeds {', '.join(map(str, args.seeds))}"
        + ("." if asks_class else "; by image row, the median."),
        "",
        *table(["model", "learning rates", what if asks_class else "all", *rows], lines),
    ]
    found.report(head, setting.measure, "accuracy" if asks_class else "bits per pixel", args.budget, args.level)
    if args.completed:
        drawn = [entry for entry in found.entries if entry.method not in FAIRSEQ]
        paths = [str(found.each("", entry, args.budget, lambda path: path)[0]) for entry in drawn]
        command = [sys.executable, "-m", "fairseq_smt.cli.complete_pixels", str(args.data), "--path", *paths]
        subprocess.run([*command, "--names", *map(str, drawn), "--output", str(args.completed)], check=True)


if __name__ == "__main__":
    main()
