"""What the cost model predicts for the paper's sizes on an H100, which no run has confirmed."""

import argparse
from argparse import Namespace

import fairseq  # noqa: F401

import fairseq_smt
from cost import H100, Cost, Sizes, bptt, chunked_bptt, dmt, smt
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig, from_flags
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from report import table
from updates import with_sizes

fairseq_smt.register()
from fairseq_smt.models.presets import LOSSES, PRESETS  # noqa: E402

PAPER = "smt_lm_paper"
ROWS, VOCABULARY = 128, 88
LENGTHS = (320, 1024, 4096, 16384)


def sizes_of(arch: str, vocabulary: int) -> Sizes:
    """The sizes of `--arch`."""
    flags = Namespace(**PRESETS[arch])
    return Sizes(vocabulary, *(from_flags(config, flags) for config in (RnnConfig, TeacherConfig, FutureConfig)))


def costs(length: int) -> dict[str, Cost]:
    """The methods at the paper's sizes and weights, B = 128 blocks of T."""
    sizes = sizes_of(PAPER, VOCABULARY)
    projection = with_sizes(sizes, memory_head="projection")
    objective = from_flags(SupervisedMemoryTraining, Namespace(tokens_per_sample=length, **LOSSES[PAPER]))
    return {
        "SMT, the paper's, a pair of a block": smt(sizes, ROWS, length, objective),
        "SMT, head projection": smt(projection, ROWS, length),
        "DMT, the paper's, cached labels": dmt(sizes, ROWS, length, chunk=length, offset=0, cut=1, cached=True),
        "DMT in chunks of 16, cached labels": dmt(sizes, ROWS, length, cached=True),
        "chunked BPTT": chunked_bptt(sizes, ROWS, length),
        "BPTT": bptt(sizes, ROWS, length),
    }


def part(args: argparse.Namespace, _: Sizes) -> tuple[list[str], list[str]]:
    """No row of the summary, and the section."""
    rows = []
    for length in LENGTHS:
        for method, cost in costs(length).items():
            gibibytes = 2 * cost.held / 2**30
            figures = [f"{cost.flops / 1e12:,.2f}", f"{cost.depth:,}", f"{gibibytes:,.1f}"]
            rows.append([f"{length:,}", method, *figures, f"{1000 * H100.seconds(cost):,.1f}"])
    return [], [
        f"## Predicted, not run: `{PAPER}` on an H100",
        "",
        f"By the formulas of `benchmarks/cost.py`, B = {ROWS}, V = {VOCABULARY}, blocks of T. Assumed: the dense bf16 "
        f"peak of {H100.peak / 1e12:.0f} TFLOP/s at {H100.utilisation:.0%}; {1e6 * H100.latency:.0f} µs from one eager "
        "kernel to the next; the larger of the two counts. What is held is in 16 bits; beyond 80 GiB a batch has to be "
        "divided. The paper's SMT trains the cell on one transition of a block, with head projection on 32; the others "
        "on all T.",
        "",
        *table(["T", "method", "TFLOP", "depth", "GiB held", "ms per update"], rows),
    ]
