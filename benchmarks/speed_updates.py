"""Milliseconds of an update of every method, cell and head at a constant number of tokens."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import torch

from cost import METHODS, Sizes
from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.teacher import HEADS
from report import table
from timing import medians, rounds
from updates import batch_of, lstm_update, modules_of, update, with_sizes

LSTM = "nn.LSTM"
CACHED = "DMT, cached labels"


class Case(NamedTuple):
    """A row of the table: the method, and the cell and the head where it has them."""

    method: str
    cell: str = ""
    head: str = ""


def cases(sizes: Sizes) -> list[Case]:
    """SMT with every head for the default cell and the default head for every cell; every other method and cell."""
    cell, head = sizes.rnn.cell, sizes.teacher.memory_head
    found = [Case("SMT", cell, other) for other in HEADS]
    found += [Case("SMT", other, head) for other in followers() if other != cell]
    found += [Case("DMT", other, head) for other in followers()]
    found += [Case(CACHED, other) for other in followers()]
    found += [Case(method, other) for method in ("chunked BPTT", "BPTT") for other in CELLS]
    return [*found, Case(LSTM)]


def followers() -> list[str]:
    """The cells that can follow labels: all but baselines, which say that they cannot."""
    return [name for name, cell in CELLS.items() if getattr(cell, "follows_labels", True)]


def step_of(case: Case, sizes: Sizes, rows: int, length: int, device: torch.device) -> Callable[[], None]:
    """One update per call."""
    if case.method == LSTM:
        return lstm_update(sizes.memory, sizes, batch_of(sizes, rows, length, device))
    sizes = with_sizes(sizes, case.cell, memory_head=case.head or sizes.teacher.memory_head)
    batch = batch_of(sizes, rows, length, device, cached=case.method == CACHED)
    method = case.method if case.method in METHODS else "DMT"
    return update(method, modules_of(sizes, device), batch)


def part(args: argparse.Namespace, sizes: Sizes) -> tuple[list[str], list[str]]:
    """The summary's rows, and the section."""
    device, found, listed = torch.device(args.device), {}, cases(sizes)
    for length in args.lengths:
        rows = max(1, args.tokens // length)
        steps = {case: step_of(case, sizes, rows, length, device) for case in listed}
        taken = medians(rounds(steps, device, args.rounds, args.seconds, f"updates, T = {length}"))
        found |= {(case, length): 1000 * seconds for case, seconds in taken.items()}
    unit = "CPU ms" if device.type == "cpu" else "ms"
    lines = [
        f"## {unit} per {args.tokens:,} tokens",
        "",
        f"One update: draws, forward, backward and fused AdamW, with B = {args.tokens:,} / T. `{LSTM}` is an "
        f"embedding, torch's LSTM and a linear layer, all {sizes.memory} wide.",
        "",
        *table(
            ["method", "cell", "head", *(f"T = {length}" for length in args.lengths)],
            [[*case, *(f"{found[case, length]:.1f}" for length in args.lengths)] for case in listed],
        ),
    ]
    return ratios(found, sizes, args.lengths), lines


def ratios(found: dict[tuple[Case, int], float], sizes: Sizes, lengths: list[int]) -> list[str]:
    """The summary's rows."""
    head = sizes.teacher.memory_head

    def over(a: Case, b: Case, length: int) -> float:
        return found[a, length] / found[b, length]

    def at_every(a: Case, b: Case) -> str:
        return ", ".join(f"{over(a, b, length):.2f} at T = {length}" for length in lengths)

    middle = min(lengths, key=lambda length: abs(length - 128))
    rows = [
        f"SMT over BPTT of the same cell ({cell}): {at_every(Case('SMT', cell, head), Case('BPTT', cell))}"
        for cell in followers()
    ]
    rows += [f"SMT ({sizes.rnn.cell}) over {LSTM}: {at_every(Case('SMT', sizes.rnn.cell, head), Case(LSTM))}"]
    if "gru" in CELLS:
        rows += [
            f"{method} (gru) over {LSTM}: {at_every(Case(method, 'gru'), Case(LSTM))}"
            for method in (CACHED, "chunked BPTT")
        ]
    live = Case("DMT", sizes.rnn.cell, head)
    cached = over(Case(CACHED, sizes.rnn.cell), live, middle)
    return [*rows, f"DMT ({sizes.rnn.cell}) on cached labels over the live teacher, T = {middle}: {cached:.2f}"]
