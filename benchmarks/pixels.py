#!/usr/bin/env python3
"""SMT, DMT and their baselines on images, pixel by pixel, at equal seconds of training. Writes Markdown, and pictures.

    fairseq-smt-prepare-pixels --destdir data-bin/digits
    python benchmarks/pixels.py data-bin/digits --budget 60 --output runs/digits.md --completed runs/digits.png

DATA is a folder of fairseq-smt-prepare-pixels. Every method tries learning rates on the validation images with one
seed, more of them while the best is at the edge, and runs with the best one for every seed. Figures are bits per pixel
of the test images, by image row, each image from the initial memory. --completed shows what the RNNs of the first seed
make of the lower halves (fairseq-smt-complete-pixels). Runs are kept in --runs; an interrupted study goes on.
"""

import argparse
import math
import statistics
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from fairseq_smt.core.losses import negative_log_likelihood
from fairseq_smt.data.pixels import PixelFormat
from methods import FAIRSEQ, METHODS, Build, Setting, Stage, smt_dmt, stages_of
from report import median_of, table
from runs import Runs, kept
from scoring import logits_of
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


def setting_of(length: int, form: PixelFormat, rows: int) -> Setting:
    """Chunks are of two image rows, so that each holds a whole one."""
    chunk = 2 * form.width
    return Setting(
        length,
        ours="--arch smt_lm_small",
        rows=f"--batch-size {rows}",
        teacher="",
        smt=f"--batch-size {max(min(rows, 2), rows // 2)}",
        dmt=f"--batch-size {rows} --chunk {chunk} --drift-backprop {chunk} --ce-backprop {chunk}",
        chunk=f"--chunk {chunk}",
        valid_batches=VALIDATED // 64,
    )


def bits_by_row(checkpoint: Path, data: Path, form: PixelFormat, teacher: bool = False) -> list[float]:
    """Bits per pixel of each image row of the test split, by any language model of fairseq's."""
    overrides = {"data": str(data)} | ({"score_with": "teacher"} if teacher else {})
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
    parser.add_argument("--completed", type=Path, help="PNG of completed images")
    add_study_flags(parser, list(ALL), "runs/pixels", starts=[0])
    args = parser.parse_args(argv)
    form = PixelFormat.load(args.data)
    setting = setting_of(form.pixels, form, args.batch_size)
    common = f"{COMMON} --tokens-per-sample {form.pixels} {setting.valid}"
    studies = {"": Study(Runs(args.runs, [str(args.data)], common, args.gpu), form.pixels, args.validations)}
    found = conduct(args, studies, lambda case, entry: stages_of(ALL[entry.method], setting, entry), [args.budget])

    def rows(path: Path, teacher: bool = False) -> list[float]:
        score = path.with_name("ceiling-rows.json" if teacher else "rows.json")
        return kept(score, lambda: bits_by_row(path, args.data, form, teacher))

    lines = []
    for entry in found.entries:
        shown = [(str(entry), found.used("", entry), -1, False)]
        if entry.method.startswith("SMT"):
            shown = [(f"{entry}: ceiling", "", 0, True), (f"{entry}: RNN after SMT alone", "", 0, False), *shown]
        for name, rates, stage, teacher in shown:
            by_seed = [rows(path, teacher) for path in found.each("", entry, args.budget, lambda path: path, stage)]
            by_row = [f"{statistics.median(row):.2f}" for row in zip(*by_seed, strict=True)]
            lines.append([name, rates, median_of([statistics.mean(b) for b in by_seed], 3), *by_row])
    head = [
        f"`python {' '.join(sys.argv)}`: bits per pixel of {form.height} × {form.width} pixels of {form.levels} grey "
        f"levels after {args.budget:g} seconds, median (all) of seeds {', '.join(map(str, args.seeds))}; by image "
        "row, the median.",
        "",
        *table(["model", "learning rates", "all", *(str(row + 1) for row in range(form.height))], lines),
    ]
    found.report(head, setting.measure, "bits per pixel", args.budget, args.level)
    if args.completed:
        drawn = [entry for entry in found.entries if entry.method not in FAIRSEQ]
        paths = [str(found.each("", entry, args.budget, lambda path: path)[0]) for entry in drawn]
        command = [sys.executable, "-m", "fairseq_smt.cli.complete_pixels", str(args.data), "--path", *paths]
        subprocess.run([*command, "--names", *map(str, drawn), "--output", str(args.completed)], check=True)


if __name__ == "__main__":
    main()
