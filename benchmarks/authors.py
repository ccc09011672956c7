#!/usr/bin/env python3
"""Transitions per second against the paper's own code, in one run. Writes Markdown.

    git clone https://github.com/akarshkumar0101/smt && pip install x-transformers einops
    python benchmarks/authors.py smt

Both train with SMT on random bytes, with fused AdamW and without clipping, the paper's code at the sizes of `SMALL`. A
transition is a pair (m_t, m_t+1) that an update trains the cell on. The paper's code makes one of each sequence, with
two passes of its encoder; ours labels all of them in one pass, and trains the cell on all unless some are drawn. Time
is CPU time, or on a GPU synchronised time.
"""

import argparse
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch

from cost import Sizes
from fairseq_smt.core.allocation import keep_freed_memory
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from report import add_output_flag, emit, table
from timing import medians, rounds
from updates import batch_of, modules_of, update, with_sizes

CONTEXT, FUTURE, ROWS = 64, 16, 32
SMALL = Sizes(
    256,
    RnnConfig(memory_tokens=4, memory_width=128, cell="transformer", cell_layers=2, cell_heads=4),
    TeacherConfig(trunk_width=128, trunk_layers=2, trunk_heads=4, teacher_window=CONTEXT),
    FutureConfig(futures=FUTURE, future_width=128, future_layers=1, future_heads=4),
)
THEIRS = "the paper's code"
STEPS = 32


def code_of(checkout: Path) -> ModuleType:
    """Their module of models and losses.

    Raises:
        SystemExit: when it is not there or lacks a package.
    """
    sys.path.insert(0, str(checkout / "src"))
    try:
        return importlib.import_module("model")
    except ModuleNotFoundError as error:
        missing = f"{checkout}/src/model.py" if error.name == "model" else f"the package {error.name}"
        remedy = "name a checkout of akarshkumar0101/smt, and pip install x-transformers einops"
        raise SystemExit(f"authors.py: {missing} is missing: {remedy}") from None


def their_parts(code: ModuleType, device: torch.device) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Their RNN and teacher at the sizes of `SMALL`."""
    rnn, teacher = SMALL.rnn, SMALL.teacher
    shared = dict(vocab_size=SMALL.vocabulary, mem_size=SMALL.memory, mem_tokens=rnn.memory_tokens)
    shared |= dict(d_model=teacher.trunk_width, decoder_depth=SMALL.future.future_layers, n_heads=teacher.trunk_heads)
    torch.manual_seed(0)
    parts = (
        code.RNN(code.RNNConfig(**shared, rnn_depth=rnn.cell_layers)),
        code.Teacher(code.TeacherConfig(**shared, encoder_depth=teacher.trunk_layers)),
    )
    return tuple(part.to(device) for part in parts)


def their_update(code: ModuleType, device: torch.device) -> Callable[[], None]:
    """One update of their SMT per call."""
    rnn, teacher = their_parts(code, device)
    length = CONTEXT + FUTURE
    config = code.SMTConfig(T=length, Tc=CONTEXT, Tf=FUTURE)
    tokens = batch_of(SMALL, ROWS, length, device)
    optimizer = torch.optim.AdamW([*rnn.parameters(), *teacher.parameters()], lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        code.forward_smt(rnn, teacher, dict(x=tokens.inputs, y=tokens.targets), config)["loss"].backward()
        optimizer.step()

    return step


def updates(code: ModuleType, device: torch.device) -> dict[str, tuple[Callable[[], None], int]]:
    """Name → one update per call, and how many transitions it trains the cell on."""
    drawn = SupervisedMemoryTraining()
    every = replace(drawn, horizon=CONTEXT, dynamics_positions=0)
    some = replace(drawn, horizon=CONTEXT)
    default = replace(Sizes(), vocabulary=SMALL.vocabulary)
    found = {THEIRS: (their_update(code, device), ROWS)}
    for name, sizes, objective, transitions in (
        ("their cell and sizes", SMALL, every, CONTEXT),
        (f"their cell and sizes, {some.dynamics_positions} drawn", SMALL, some, some.dynamics_positions),
        ("smt_lm_small", default, every, CONTEXT),
        ("their cell, sizes and window", with_sizes(SMALL, memory_head="window"), some, some.label_pairs),
    ):
        batch = batch_of(sizes, ROWS, CONTEXT, device)
        found[name] = update("SMT", modules_of(sizes, device), batch, objective), ROWS * transitions
    return found


def generations(code: ModuleType, device: torch.device, rows: int) -> dict[str, Callable[[], object]]:
    """Name → `STEPS` tokens of `rows` rows, greedy, from the memory before any input."""
    rnn, _ = their_parts(code, device)

    @torch.no_grad()
    def theirs() -> None:
        memory, token = (
            torch.zeros(rows, SMALL.memory, device=device),
            torch.zeros(rows, 1, dtype=torch.long, device=device),
        )
        for _ in range(STEPS):
            memory = rnn.rnn_update(memory, token)
            token = rnn.rnn_readout(memory).argmax(-1, keepdim=True)

    found = {THEIRS: theirs}
    for name, sizes in (("their cell and sizes", SMALL.rnn), ("smt_lm_small", RnnConfig())):
        model = RecurrentLanguageModel(SMALL.vocabulary, sizes).to(device)
        prompt = torch.zeros(rows, 1, dtype=torch.long, device=device)
        found[name] = lambda m=model, p=prompt: m.generate(p, STEPS, temperature=0)
    return found


def compare(checkout: Path, device: torch.device, number: int, at_least: float) -> tuple[list[str], list[str]]:
    """Rows of a summary, and lines of a section."""
    code, unit = code_of(checkout), "CPU-second" if device.type == "cpu" else "second"
    runs = updates(code, device)
    taken = medians(
        rounds({name: step for name, (step, _) in runs.items()}, device, number, at_least, "the paper's code")
    )
    rate = {name: transitions / taken[name] for name, (_, transitions) in runs.items()}
    lines = [
        "## Against the paper's code",
        "",
        f"SMT on random bytes: context {CONTEXT}, future {FUTURE}, K = 4, d = 128, encoder 2 layers, decoder 1, batch "
        f"{ROWS}; `benchmarks/authors.py` says what is counted.",
        "",
        *table(
            ["sizes", "ms per update", f"transitions per {unit}", "ratio"],
            [
                [name, f"{1000 * taken[name]:.1f}", f"{rate[name]:,.0f}", f"{rate[name] / rate[THEIRS]:.1f}"]
                for name in runs
            ],
        ),
        "",
    ]
    ratios = ", ".join(f"{rate[name] / rate[THEIRS]:.0f} ({name})" for name in runs if name != THEIRS)
    summary, cells = [f"transitions per {unit} over those of the paper's code: {ratios}"], []
    for rows in (1, 16):
        steps = generations(code, device, rows)
        taken = medians(rounds(steps, device, number, at_least, f"generation, {rows} rows"))
        cells.append({name: 1000 * seconds / STEPS for name, seconds in taken.items()})
        quicker = ", ".join(f"{taken[THEIRS] / taken[name]:.1f} ({name})" for name in steps if name != THEIRS)
        summary.append(f"generation, {rows} row(s), time of the paper's code over ours: {quicker}")
    head = ["sizes", "1 row, ms per step", "16 rows, ms per step"]
    return summary, [*lines, *table(head, [[name, *(f"{found[name]:.2f}" for found in cells)] for name in cells[0]])]


def part(args: argparse.Namespace, _: Sizes) -> tuple[list[str], list[str]]:
    """The part of `speed.py`, empty without a checkout."""
    if args.authors is None:
        return [], []
    return compare(args.authors, torch.device(args.device), args.rounds, args.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of their repository")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="least time of one measurement")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_output_flag(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    summary, lines = compare(args.checkout, torch.device(args.device), args.rounds, args.seconds)
    emit("\n".join([*(f"- {row}" for row in summary), "", *lines]) + "\n", args.output)


if __name__ == "__main__":
    main()
