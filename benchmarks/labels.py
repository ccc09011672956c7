#!/usr/bin/env python3
"""What labels cost: the memory heads, and one update of SMT for every head and cell. Writes Markdown.

    python benchmarks/labels.py --output docs/results/2026-11-24-labels.md

One process times everything, round after round over all cases, so that a slow spell of the machine meets them all;
figures are medians over the rounds. Time is CPU time on a CPU and synchronised wall time on a GPU. Peak memory is what
one update in a process of its own needs beyond the modules and the batch.
"""

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from fairseq_smt.core.cells import CELLS, follows_labels
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.future import build_future
from fairseq_smt.core.interface import Batch, Modules
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from fairseq_smt.core.teacher import HEADS, build_teacher
from report import add_output_flag, emit
from timing import medians, rounds

VOCABULARY = 64


def teachers(layers: int) -> dict[str, dict]:
    """Name → sizes of the teacher: every head, and registers in every layer beside those in the last."""
    cases = {head: dict(memory_head=head) for head in HEADS}
    return {**cases, "registers in every layer": dict(memory_head="registers", register_layers=layers)}


class Bench:
    """Modules and batches of one size on one device."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.device = torch.device(args.device)
        self.memory = dict(memory_tokens=args.memory, memory_width=args.width)
        self.trunk = dict(trunk_width=args.width, trunk_layers=args.layers, teacher_window=args.length)
        generator = torch.Generator().manual_seed(1)
        self.tokens = torch.randint(VOCABULARY, (args.batch, args.length), generator=generator).to(self.device)

    def teacher(self, case: dict) -> torch.nn.Module:
        torch.manual_seed(0)
        teacher = TeacherConfig(**self.trunk, **case)
        return build_teacher(VOCABULARY, RnnConfig(**self.memory), teacher).to(self.device)

    def encoding(self, case: dict) -> tuple[Callable[[], None], int]:
        """Forward and backward of the encoder alone, and the number of labels it gives."""
        teacher, tokens = self.teacher(case), self.tokens
        if teacher.every_position:
            labels, number = (lambda: teacher.labels(tokens)), tokens.numel()
        else:  # labels are alike in cost: one per row is enough to time
            last = torch.full_like(tokens[:, :1], self.args.length - 1)
            labels, number = (lambda: teacher.at(tokens, last)), len(tokens)
        weight = torch.randn(labels().shape, device=self.device)

        def run() -> None:
            teacher.zero_grad()
            (labels() * weight).sum().backward()

        return run, number

    def update(self, case: dict, cell: str) -> Callable[[], None]:
        """One update of SMT with the default objective: draws, forward, backward, AdamW."""
        sizes = RnnConfig(**self.memory, cell=cell, cell_hidden=4 * self.args.width)
        rnn = RecurrentLanguageModel(VOCABULARY, sizes)
        future = build_future(VOCABULARY, sizes, FutureConfig(future_width=self.args.width))
        modules = Modules(rnn.to(self.device), self.teacher(case), future.to(self.device))
        parameters = [p for m in (modules.rnn, modules.teacher, modules.future) for p in m.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=1e-4)
        everything = torch.ones_like(self.tokens, dtype=torch.bool)
        ids = torch.arange(len(self.tokens), device=self.device)
        batch = Batch(self.tokens, self.tokens.roll(-1, 1), everything, everything, ids)
        objective = SupervisedMemoryTraining(horizon=self.args.length)

        def run() -> None:
            optimizer.zero_grad()
            objective(modules, batch, update=1).loss.backward()
            optimizer.step()

        return run

    def medians(self, cases: dict, what: str) -> dict:
        """Case → median seconds over the rounds."""
        return medians(rounds(cases, self.device, self.args.rounds, self.args.seconds, what))

    def peak(self, head: str, cell: str) -> float:
        """Peak MiB of one update in this process beyond its modules and batch."""
        run = self.update(teachers(self.args.layers)[head], cell)
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated()
            run()
            return (torch.cuda.max_memory_allocated() - before) / 2**20
        before = resident("VmRSS")
        run()
        return resident("VmHWM") - before


def resident(what: str) -> float:
    """MiB of this process now (VmRSS) or at most so far (VmHWM); unlike getrusage's, not inherited from the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def peak_of(head: str, cell: str) -> float:
    """`Bench.peak` in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--peak", head, cell]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def report(bench: Bench) -> str:
    """All measurements as Markdown."""
    args, cases = bench.args, teachers(bench.args.layers)
    unit = "CPU-second" if args.device == "cpu" else "second"
    encodings = {name: bench.encoding(case) for name, case in cases.items()}
    seconds = bench.medians({name: run for name, (run, _) in encodings.items()}, "heads")
    rate = {name: encodings[name][1] / seconds[name] for name in cases}
    lines = [
        "# What labels cost",
        "",
        f"`python {' '.join(sys.argv)}`: T = {args.length}, d = {args.width} (trunk and memory tokens), {args.layers} "
        f"layers, K = {args.memory}, batch {args.batch}; medians of {args.rounds} interleaved rounds in one run; "
        f"{args.threads} thread(s), torch {torch.__version__}, Python {platform.python_version()}, {args.device}.",
        "",
        "## Labels: encoder forward and backward",
        "",
        f"| head | labels per {unit} | times `window` |",
        "|---|---|---|",
        *(f"| {name} | {rate[name]:,.0f} | {rate[name] / rate['window']:.0f} |" for name in cases),
        "",
        "## One update of SMT",
        "",
        "`window` labels 4 pairs per block; the others label every position, and 32 of them train the cell.",
        "",
        f"| head | cell | ms per update | transitions per {unit} | peak MiB |",
        "|---|---|---|---|---|",
    ]
    pairs = [(head, cell) for head in cases for cell in CELLS if follows_labels(CELLS[cell])]
    seconds = bench.medians({pair: bench.update(cases[pair[0]], pair[1]) for pair in pairs}, "updates")
    for head, cell in pairs:
        per_block = (
            SupervisedMemoryTraining.label_pairs if head == "window" else SupervisedMemoryTraining.dynamics_positions
        )
        took = seconds[head, cell]
        number = per_block * args.batch / took
        lines.append(f"| {head} | {cell} | {1000 * took:,.1f} | {number:,.0f} | {peak_of(head, cell):,.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=128, help="T")
    parser.add_argument("--width", type=int, default=128, help="d, of trunk and memory tokens")
    parser.add_argument("--layers", type=int, default=4, help="of the trunk or window encoder")
    parser.add_argument("--memory", type=int, default=4, help="K, memory tokens")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="least time of one measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_output_flag(parser)
    parser.add_argument("--peak", nargs=2, metavar=("HEAD", "CELL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU: there is none")
    if min(args.length, args.batch, args.rounds, args.threads) < 1:
        parser.error("--length, --batch, --rounds and --threads must be positive")
    torch.set_num_threads(args.threads)
    try:
        bench = Bench(args)
        if args.peak:
            print(bench.peak(*args.peak))
            return
        text = report(bench)
    except ConfigurationError as error:
        parser.error(str(error))
    emit(text, args.output)


if __name__ == "__main__":
    main()
