"""Tiny modules and batches for tests of objectives."""

import torch

from fairseq_smt.core import losses
from fairseq_smt.core.cells import CELLS, follows_labels
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.future import build_future
from fairseq_smt.core.interface import Batch, Modules
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.teacher import build_teacher

V, K, D, T = 11, 2, 4, 10
FOLLOWERS = [name for name, cell in CELLS.items() if follows_labels(cell)]
"""Cells that can follow labels."""


def make_modules(cell="mlp", head="projection", future="window", *, memory=(K, D), width=16):
    torch.manual_seed(0)
    tokens, size = memory
    least = 4 if cell == "slots" else 1  # of one slot the address has no gradient
    rnn = RnnConfig(max(tokens, least), size, cell, cell_hidden=width, cell_layers=1, cell_heads=2)
    return Modules(
        rnn=RecurrentLanguageModel(V, rnn),
        teacher=build_teacher(V, rnn, TeacherConfig(head, trunk_width=width, trunk_layers=1, trunk_heads=2)),
        future=build_future(V, rnn, FutureConfig(future, 3, width, future_layers=1, future_heads=2)),
    )


def parameters(modules):
    parts = {"rnn": modules.rnn, "teacher": modules.teacher, "future": modules.future}
    return {f"{part}.{name}": p for part, module in parts.items() for name, p in module.named_parameters()}


def make_batch(lengths=(10, 10, 10, 10), length=T, padding=0):
    generator = torch.Generator().manual_seed(5)
    rows = len(lengths)
    inputs, targets = (torch.randint(V, (rows, length), generator=generator) for _ in range(2))
    real = torch.arange(length) < torch.tensor(lengths)[:, None]
    asked = real & (torch.rand(rows, length, generator=generator) < 0.7)
    inputs = inputs.masked_fill(~real, padding)
    return Batch(inputs, targets.masked_fill(~real, padding), real, asked, ids=torch.arange(rows) * 3 + 1)


def part_of(batch, rows):
    return Batch(*(getattr(batch, name)[rows] for name in ("inputs", "targets", "real", "asked", "ids", "scored")))


def mean(terms, name):
    return losses.mean_of(*terms.measures[name])


def gradient_size(module):
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)
