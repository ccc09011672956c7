"""What waits for the backward pass against T: counted on a CPU, the allocator's peak of an update on a GPU."""

import argparse
from pathlib import Path

import torch

from cost import METHODS, Sizes
from counting import held_by
from fairseq_smt.analysis.figures import new_figure
from fairseq_smt.cli.output import write_png
from report import table
from updates import batch_of, modules_of, objective_of, trained_by, update

ROWS = 4


def mebibytes(method: str, sizes: Sizes, length: int, device: torch.device) -> float:
    """MiB that one update of ROWS blocks holds (CPU), or needs at its peak beyond modules and batch (GPU)."""
    modules, batch = modules_of(sizes, device), batch_of(sizes, ROWS, length, device)
    if device.type == "cuda":
        step = update(method, modules, batch)
        step()  # AdamW's own memory is there before the peak is taken
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    objective = objective_of(method, length)
    if method != "SMT":
        modules.teacher.requires_grad_(False)
    return held_by(lambda: objective(modules, batch, update=1).loss, trained_by("SMT", modules)) / 2**20


def picture(path: Path, found: dict[tuple[str, int], float], formula: dict[tuple[str, int], float], unit: str) -> None:
    """MiB against T for every method; the formulas as dots."""
    figure, ((axes,),) = new_figure(1, 1, size=(7.0, 4.5))
    for i, method in enumerate(METHODS):
        lengths = [length for name, length in found if name == method]
        axes.plot(lengths, [found[method, length] for length in lengths], color=f"C{i}", label=method)
        axes.plot(lengths, [formula[method, length] for length in lengths], ".", color=f"C{i}")
    axes.set(xscale="log", yscale="log", xlabel="T", ylabel=f"MiB {unit}", title=f"B = {ROWS}; dots: formulas")
    axes.legend()
    write_png(path, figure)


def part(args: argparse.Namespace, sizes: Sizes) -> tuple[list[str], list[str]]:
    """The summary's row, and the section; the picture lies beside the page."""
    device = torch.device(args.device)
    keys = [(method, length) for method in METHODS for length in args.memory_lengths]
    found = {(method, length): mebibytes(method, sizes, length, device) for method, length in keys}
    formula = {(method, length): METHODS[method](sizes, ROWS, length).held * 4 / 2**20 for method, length in keys}
    unit = "at the peak of an update" if device.type == "cuda" else "held for the backward pass"
    lines = [
        f"## MiB {unit}",
        "",
        f"B = {ROWS}, cell {sizes.rnn.cell}, head {sizes.teacher.memory_head}. In brackets what is held by the "
        "formulas of `benchmarks/cost.py`.",
        "",
        *table(
            ["T", *METHODS],
            [[str(t), *(f"{found[m, t]:.1f} ({formula[m, t]:.1f})" for m in METHODS)] for t in args.memory_lengths],
        ),
    ]
    if args.output:
        name = f"{args.output.stem}_memory.png"
        picture(args.output.with_name(name), found, formula, unit)
        lines += ["", f"![MiB against T]({name})"]
    longest = max(args.memory_lengths)
    row = ", ".join(f"{method} {found[method, longest]:.0f}" for method in METHODS)
    return [f"MiB {unit}, B = {ROWS}, T = {longest}: {row}"], lines
