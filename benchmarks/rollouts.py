#!/usr/bin/env python3
"""What the rollouts of DMT cost, and how near the labels the same number of updates brings the RNN. Writes Markdown.

    python benchmarks/rollouts.py --lengths 64 256 1024 --output docs/results/2026-11-24-rollouts.md

For each block length a small model is trained with SMT on the bytes of Python's own help topics. Every rollout starts
from a copy of it, on the same batches. One process times one update of each, round after round over all of them, so
that a slow spell of the machine meets them all; figures are medians over the rounds. Time is CPU time on a CPU and
synchronised wall time on a GPU.
"""

import argparse
import copy
import math
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pydoc_data.topics import topics

import torch
from torch.utils.flop_counter import FlopCounterMode

from fairseq_smt.core import losses
from fairseq_smt.core.cells import CELLS, follows_labels
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.diagnostics import label_variance
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.future import build_future
from fairseq_smt.core.interface import Batch, Modules, Terms
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives import DaggerMemoryTraining, SupervisedMemoryTraining
from fairseq_smt.core.teacher import build_teacher
from report import add_output_flag, emit
from timing import medians, rounds

VOCABULARY = 256
UPDATES = 8
"""Updates that the work is a mean over, because chunks lie at random."""
SEQUENTIAL = "sequential, gradient through all of it"
Objective = Callable[..., Terms]


def backpropagation_through_time(modules: Modules, batch: Batch, *, update: int = 0) -> Terms:
    """Cross entropy of the RNN unrolled from m_∅, its gradient through the whole block."""
    logits, _ = modules.rnn(batch.inputs)
    return Terms(loss=losses.mean_of(*losses.cross_entropy(logits, batch.targets, batch.asked)))


def objectives(length: int, through: bool) -> dict[str, Objective]:
    """Name → objective: the rollouts of DMT, and BPTT without a teacher.

    Args:
        through: whether the readout's loss reaches the cell, as far as the drift's does; otherwise the drift alone
            trains the cell, and rollouts differ in nothing else.
    """

    def dmt(rollout: str, chunk: int, backprop: int) -> DaggerMemoryTraining:
        cut = dict(drift_backprop=backprop, ce_backprop=backprop if through else 0)
        return DaggerMemoryTraining(rollout=rollout, chunk=chunk, horizon=length, **cut)

    return {
        "sequential, detached at every step": dmt("sequential", 1, 1),
        SEQUENTIAL: dmt("sequential", 1, length),
        "chunked 16": dmt("chunked", 16, 16),
        "chunked 16, detached at every step": dmt("chunked", 16, 1),
        "chunked 64": dmt("chunked", 64, 64),
        "warm 16, one pass": dmt("warm", 16, 16),
        "jacobi 4": dmt("jacobi", 4, 4),
        "BPTT, no labels": backpropagation_through_time,
    }


class Text:
    """Batches of blocks drawn from the help topics; the last tenth of the text is held out."""

    def __init__(self, length: int, batch: int, device: torch.device):
        text = "\n".join(topics[name] for name in sorted(topics)).encode()
        self.bytes = torch.tensor(list(text), device=device)
        self.length, self.batch, self.held_out = length, batch, len(text) * 9 // 10
        if len(text) - self.held_out <= length:
            raise ConfigurationError(f"--lengths {length} is longer than the held-out text, {len(text) // 10} bytes.")

    def blocks(self, starts: torch.Tensor) -> Batch:
        """Blocks of T bytes whose targets are the bytes that follow."""
        windows = self.bytes[
            starts[:, None].to(self.bytes.device) + torch.arange(self.length + 1).to(self.bytes.device)
        ]
        everything = torch.ones_like(windows[:, 1:], dtype=torch.bool)
        return Batch(windows[:, :-1], windows[:, 1:], everything, everything, starts.to(self.bytes.device))

    def training(self, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield self.blocks(torch.randint(self.held_out - self.length - 1, (self.batch,), generator=generator))

    def validation(self, blocks: int = 32) -> Batch:
        last = len(self.bytes) - self.length - 2
        return self.blocks(torch.linspace(self.held_out, last, blocks).long())


class Bench:
    """One block length: a model after SMT, and copies of it that each rollout trains."""

    def __init__(self, args: argparse.Namespace, length: int):
        self.args, self.length = args, length
        self.device = torch.device(args.device)
        self.text = Text(length, args.batch, self.device)
        torch.manual_seed(args.seed)
        sizes = RnnConfig(cell=args.cell)
        self.smt = Modules(
            RecurrentLanguageModel(VOCABULARY, sizes).to(self.device),
            build_teacher(VOCABULARY, sizes, TeacherConfig()).to(self.device),
            build_future(VOCABULARY, sizes, FutureConfig()).to(self.device),
        )
        total = args.smt_updates
        objective = SupervisedMemoryTraining(horizon=length, seed=args.seed)
        step = self.step(self.smt, objective, 0.005)
        for update, batch in zip(range(total), self.text.training(args.seed), strict=False):
            step(batch, update, ramp=min(1.0, 2 * update / total))
        for part in (self.smt.teacher, self.smt.future):
            part.requires_grad_(False)

    def step(self, modules: Modules, objective: Objective, lr: float) -> Callable[..., None]:
        """One update: objective, backward, clipping, AdamW."""
        parts = [m for m in (modules.rnn, modules.teacher, modules.future) if m is not None]
        parameters = [p for m in parts for p in m.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=0.01)

        def run(batch: Batch, update: int, **options: float) -> None:
            optimizer.zero_grad()
            objective(modules, batch, update=update, **options).loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

        return run

    def copied(self) -> Modules:
        return Modules(copy.deepcopy(self.smt.rnn), self.smt.teacher, self.smt.future)

    def trained(self, objective: Objective) -> Modules:
        """A copy after `--updates` updates on the same batches as every other."""
        modules = self.copied()
        step = self.step(modules, objective, self.args.lr)
        for update, batch in zip(range(self.args.updates), self.text.training(self.args.seed + 1), strict=False):
            step(batch, update)
        return modules

    @torch.no_grad()
    def outcome(self, modules: Modules) -> tuple[float, float]:
        """On held-out text, the RNN from m_∅: drift over label variance, mean over the block, and bits per byte."""
        batch = self.text.validation()
        labels, memories = modules.teacher.labels(batch.inputs), modules.rnn.unroll(batch.inputs)
        drift = losses.mean_of(*losses.dynamics(memories, labels, batch.real))
        nll = losses.mean_of(*losses.cross_entropy(modules.rnn.readout(memories), batch.targets, batch.asked))
        return float(drift / label_variance(labels, batch.real)), float(nll) / math.log(2)

    def work(self, objective: Objective) -> tuple[int, float]:
        """Calls of the cell, one after another, and its FLOPs, in the forward pass of an update."""
        modules, batch = self.copied(), next(self.text.training(0))
        cell, rows = modules.rnn.cell, []
        hook = cell.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
        for update in range(UPDATES):
            objective(modules, batch, update=update)
        hook.remove()
        cell.requires_grad_(False)
        memory, inputs = modules.teacher.labels(batch.inputs)[:, 0].detach(), cell.inputs(batch.inputs[:, 1])
        with FlopCounterMode(display=False) as counter:
            cell(memory, inputs)
        flops = sum(rows) * counter.get_total_flops() / len(memory)
        return len(rows) // UPDATES, flops / UPDATES

    def medians(self, cases: dict[str, Objective]) -> dict[str, float]:
        """Name → median seconds of an update over the rounds."""
        batch = next(self.text.training(0))
        steps = {name: self.step(self.copied(), objective, self.args.lr) for name, objective in cases.items()}
        runs = {name: partial(step, batch, 1) for name, step in steps.items()}
        return medians(rounds(runs, self.device, self.args.rounds, self.args.seconds, f"T = {self.length}"))


def table(bench: Bench) -> list[str]:
    """All measurements of one block length as Markdown."""
    args = bench.args
    cases = objectives(bench.length, args.readout_through)
    seconds = bench.medians(cases)
    work = {name: bench.work(objective) for name, objective in cases.items()}
    unit = "CPU ms" if args.device == "cpu" else "ms"
    before, bits = bench.outcome(bench.smt)
    lines = [
        f"## T = {bench.length}",
        "",
        f"After SMT: drift {before:.3f}, {bits:.3f} bits per byte.",
        "",
        f"| rollout | {unit} per update | depth | FLOPs | drift after {args.updates} updates | bits per byte |",
        "|---|---|---|---|---|---|",
    ]
    for name, objective in cases.items():
        depth, flops = work[name]
        drift, bits = bench.outcome(bench.trained(objective))
        relative = flops / work[SEQUENTIAL][1]
        lines.append(f"| {name} | {1000 * seconds[name]:,.1f} | {depth} | {relative:.2f} | {drift:.3f} | {bits:.3f} |")
        print(lines[-1], file=sys.stderr)
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256], metavar="T", help="block lengths")
    followers = [name for name, cell in CELLS.items() if follows_labels(cell)]
    parser.add_argument("--cell", choices=followers, default=RnnConfig.cell)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--smt-updates", type=int, default=400, help="updates of SMT before")
    parser.add_argument("--updates", type=int, default=100, help="updates of every rollout")
    parser.add_argument("--lr", type=float, default=0.003, help="learning rate of every rollout")
    parser.add_argument(
        "--readout-through", action="store_true", help="let the readout's loss reach the cell, not only the drift"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="least time of one measurement")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_output_flag(parser)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU: there is none")
    if min(*args.lengths, args.batch, args.smt_updates, args.rounds, args.threads) < 1:
        parser.error("--lengths, --batch, --smt-updates, --rounds and --threads must be positive")
    torch.set_num_threads(args.threads)
    trains = "drift and the readout's loss train the" if args.readout_through else "the drift alone trains the"
    lines = [
        "# Rollouts of DMT",
        "",
        f"`python {' '.join(sys.argv)}`: cell {args.cell}, memory of 4 × 64, batch {args.batch}; {args.smt_updates} "
        f"updates of SMT, then {args.updates} of each rollout with learning rate {args.lr}, seed {args.seed}, on the "
        f"bytes of Python's help topics; {trains} cell.",
        "",
        f"Time: medians of {args.rounds} interleaved rounds in one run, the teacher's labels included; {args.threads} "
        f"thread(s), torch {torch.__version__}, Python {platform.python_version()}, {args.device}. Depth: calls of the "
        "cell one after another, forward. FLOPs: of the cell, forward, relative to the sequential rollout with "
        "gradient (a cut gradient costs a second evaluation). Drift: of the RNN from its initial memory over the label "
        "variance, mean over a held-out block.",
        "",
    ]
    try:
        for length in args.lengths:
            lines += table(Bench(args, length))
    except ConfigurationError as error:
        parser.error(str(error))
    text = "\n".join(lines)
    emit(text, args.output)


if __name__ == "__main__":
    main()
