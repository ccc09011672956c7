"""How near an update of SMT is to its floor: the time of its own matrix products and attention, and of nothing else."""

import argparse

import torch

from cost import Sizes
from counting import products_of
from report import table
from timing import medians, rounds
from updates import batch_of, modules_of, update, with_sizes


def part(args: argparse.Namespace, sizes: Sizes) -> tuple[list[str], list[str]]:
    """The summary's row, and the section."""
    device, length = torch.device(args.device), 128
    rows = max(1, args.tokens // length)
    settings = {
        f"{t.trunk_width} × {t.trunk_layers}": with_sizes(sizes, trunk_width=t.trunk_width, trunk_layers=t.trunk_layers)
        for t in (sizes.teacher, with_sizes(sizes, trunk_width=256, trunk_layers=4).teacher)
    }
    runs, calls = {}, {}
    for name, its in settings.items():
        step = update("SMT", modules_of(its, device), batch_of(its, rows, length, device))
        products = products_of(step)
        runs |= {(name, "update"): step, (name, "products"): products.replay}
        calls[name] = len(products.calls)
    found = medians(rounds(runs, device, args.rounds, args.seconds, "floor"))
    ratio = {name: found[name, "update"] / found[name, "products"] for name in settings}
    lines = [
        "## Floor: an update of SMT over its own matrix products",
        "",
        "Every product and attention of an update, forward and backward, called again by itself; cell "
        f"{sizes.rnn.cell}, head {sizes.teacher.memory_head}, B = {rows}, T = {length}.",
        "",
        *table(
            ["trunk", "update, ms", "products, ms", "products", "ratio"],
            [
                [name, *(f"{1000 * found[name, what]:.1f}" for what in ("update", "products"))]
                + [str(calls[name]), f"{ratio[name]:.2f}"]
                for name in settings
            ],
        ),
    ]
    return [f"SMT over its matrix products: {', '.join(f'trunk {n} {r:.2f}' for n, r in ratio.items())}"], lines
