#!/usr/bin/env python3
"""SMT, DMT and their baselines on images, pixel by pixel, at equal CPU-seconds. Writes Markdown, and a picture.

    fairseq-smt-prepare-pixels --destdir data-bin/digits
    python benchmarks/pixels.py data-bin/digits --budget 60 --output runs/digits.md --figure runs/digits.png

DATA is a folder of fairseq-smt-prepare-pixels. Every method tries three learning rates on the validation images with
one seed and runs with the best one for every seed. Figures are bits per pixel of the test images, by image row, each
image from the initial memory. The picture (fairseq-smt-complete-pixels) shows what the RNNs of the first seed make of
the lower halves. Runs are kept in --runs; an interrupted study goes on.
"""

import argparse
import math
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import torch

from fairseq_smt.core.losses import negative_log_likelihood
from fairseq_smt.data.pixels import PixelFormat
from report import add_output_flag, add_run_flags, emit, median_of
from runs import Runs, kept
from scoring import logits_of
from study import Stage, Study, lstm

COMMON = """--task smt_lm --sample-break-mode eos --batch-size-valid 64 --optimizer adam --adam-betas (0.9,0.95)
    --weight-decay 0.01 --clip-norm 1
    --lr-scheduler tri_stage --phase-ratio (0.0125,0.5875,0.4) --final-lr-scale 0.05"""
OURS = "--arch smt_lm_small --trunk-width 64"
LSTM = lstm(256, "--batch-size 16", (0.002, 0.005, 0.01), "loss")


def methods(form: PixelFormat) -> dict[str, tuple[Stage, ...]]:
    """The stages of every method; chunks are of two image rows, so that each holds a whole one."""
    chunk = 2 * form.width
    through = f"--chunk {chunk} --drift-backprop {chunk} --ce-backprop {chunk}"
    found: dict[str, tuple[Stage, ...]] = {}
    for head in ("scan", "projection"):
        ours = f"{OURS} --memory-head {head}"
        smt = Stage(f"smt-{head}", f"{ours} --criterion smt --batch-size 8", (0.002, 0.005, 0.01), "ceiling_nll", 0.3)
        dmt = Stage(
            "dmt", f"{ours} --criterion dmt --train rnn --batch-size 16 {through}", (0.001, 0.003, 0.01), "rnn_nll", 0.7
        )
        found[f"SMT → DMT, {head}"] = (smt, dmt)
    alone = f"{OURS} --memory-head none --batch-size 16"
    bptt = Stage("bptt", f"{alone} --criterion cross_entropy", (0.0005, 0.001, 0.002), "loss")
    chunked = Stage(
        "chunked-bptt", f"{alone} --criterion chunked_bptt --chunk {chunk}", (0.001, 0.002, 0.005), "rnn_nll"
    )
    return found | {"BPTT": (bptt,), "chunked BPTT": (chunked,), "LSTM": (LSTM,)}


def bits_by_row(checkpoint: Path, data: Path, form: PixelFormat, teacher: bool = False) -> list[float]:
    """Bits per pixel of each image row of the test split, by any language model of fairseq's."""
    overrides = {"data": str(data)} | ({"score_with": "teacher"} if teacher else {})
    losses = [
        negative_log_likelihood(logits, batch.targets, batch.asked)
        for batch, logits in logits_of(checkpoint, "test", overrides)
    ]
    bits = torch.cat(losses).mean(0) / math.log(2)
    return bits.view(form.height, form.width).mean(1).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-smt-prepare-pixels")
    parser.add_argument("--budget", type=float, default=60, help="CPU-seconds of a run, all stages together")
    parser.add_argument("--figure", type=Path, help="PNG of completed images")
    add_run_flags(parser, "runs/pixels")
    add_output_flag(parser)
    args = parser.parse_args()
    form = PixelFormat.load(args.data)
    found = methods(form)
    study = Study(Runs(args.runs, [str(args.data)], f"{COMMON} --tokens-per-sample {form.pixels}", args.gpu))
    with ThreadPoolExecutor(args.jobs) as pool:
        rates = dict(zip(found, pool.map(lambda m: study.rates(m, found[m], args.budget), found), strict=True))
        jobs = list(product(found, args.seeds))
        runs = pool.map(lambda job: study.final(found[job[0]], rates[job[0]], args.budget, job[1]), jobs)
        names = dict(zip(jobs, runs, strict=True))

    def rows(method: str, seed: int, stage: int, teacher: bool = False) -> list[float]:
        path = study.runs.checkpoint(names[method, seed][stage])
        score = path.with_name("ceiling-rows.json" if teacher else "rows.json")
        return kept(score, lambda: bits_by_row(path, args.data, form, teacher))

    shown = {}
    for method, stages in found.items():
        if len(stages) > 1:
            shown[f"{method}: ceiling"] = [rows(method, seed, 0, teacher=True) for seed in args.seeds]
            shown[f"{method}: RNN after SMT alone"] = [rows(method, seed, 0) for seed in args.seeds]
        shown[method] = [rows(method, seed, -1) for seed in args.seeds]
    lines = [
        f"`python {' '.join(sys.argv)}`: bits per pixel of {form.height} × {form.width} pixels of {form.levels} grey "
        f"levels after {args.budget:g} CPU-seconds, median (all) of seeds {', '.join(map(str, args.seeds))}; by image "
        "row, the median.",
        "",
        f"| model | learning rates | all | {' | '.join(f'{row + 1}' for row in range(form.height))} |",
        "|---" * (form.height + 3) + "|",
    ]
    for name, by_seed in shown.items():
        used = ", ".join(f"{rate:g}" for rate in rates.get(name, []))
        by_row = " | ".join(f"{statistics.median(row):.2f}" for row in zip(*by_seed, strict=True))
        lines.append(f"| {name} | {used} | {median_of([statistics.mean(b) for b in by_seed], 3)} | {by_row} |")
    emit("\n".join(lines) + "\n", args.output)
    if args.figure:
        drawn = [method for method in found if method != "LSTM"]
        paths = [str(study.runs.checkpoint(names[method, args.seeds[0]][-1])) for method in drawn]
        command = [sys.executable, "-m", "fairseq_smt.cli.complete_pixels", str(args.data), "--path", *paths]
        subprocess.run([*command, "--names", *drawn, "--output", str(args.figure)], check=True)


if __name__ == "__main__":
    main()
