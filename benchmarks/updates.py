"""Updates to measure: the modules, random batches and objectives of every method, and torch's LSTM beside them."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from cost import Sizes
from fairseq_smt.core.future import build_future
from fairseq_smt.core.interface import Batch, Modules, Terms
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives import ChunkedBackpropagation, DaggerMemoryTraining, SupervisedMemoryTraining
from fairseq_smt.core.teacher import build_teacher

CPU = torch.device("cpu")


def with_sizes(sizes: Sizes, cell: str | None = None, **teacher) -> Sizes:
    """The same sizes with another cell, or other sizes of the teacher."""
    rnn = replace(sizes.rnn, cell=cell or sizes.rnn.cell)
    return replace(sizes, rnn=rnn, teacher=replace(sizes.teacher, **teacher))


def modules_of(sizes: Sizes, device: torch.device = CPU, seed: int = 0) -> Modules:
    """RNN, teacher and future predictor with fresh weights."""
    torch.manual_seed(seed)
    parts = (
        RecurrentLanguageModel(sizes.vocabulary, sizes.rnn),
        build_teacher(sizes.vocabulary, sizes.rnn, sizes.teacher),
        build_future(sizes.vocabulary, sizes.rnn, sizes.future),
    )
    return Modules(*(part.to(device) for part in parts))


def batch_of(sizes: Sizes, rows: int, length: int, device: torch.device = CPU, cached: bool = False) -> Batch:
    """A batch of random tokens, (B, T), with random labels where they are to be `cached` ones."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, sizes.vocabulary, (rows, length + 1), generator=generator).to(device)
    real = torch.ones(rows, length, dtype=torch.bool, device=device)
    labels = None
    if cached:
        shape = (rows, length, sizes.rnn.memory_tokens, sizes.rnn.memory_width)
        labels = torch.randn(shape, generator=generator).to(device)
    ids = torch.arange(rows, device=device)
    return Batch(tokens[:, :-1], tokens[:, 1:], real, real, ids, labels=labels)


def objective_of(method: str, length: int) -> Callable[..., Terms]:
    """The objective of a method of `cost.METHODS`, with its defaults."""
    return {
        "SMT": SupervisedMemoryTraining(horizon=length),
        "DMT": DaggerMemoryTraining(horizon=length),
        "chunked BPTT": ChunkedBackpropagation(horizon=length),
        "BPTT": ChunkedBackpropagation(chunk=length),
    }[method]


def trained_by(method: str, modules: Modules) -> list[nn.Parameter]:
    """The parameters that a method trains: SMT all, the others the RNN's."""
    parts = (modules.rnn, modules.teacher, modules.future) if method == "SMT" else (modules.rnn,)
    return [p for part in parts for p in part.parameters()]


def update(
    method: str, modules: Modules, batch: Batch, objective: Callable[..., Terms] | None = None
) -> Callable[[], None]:
    """One update per call: draws, forward, backward, fused AdamW; the objective has its defaults unless given."""
    objective, number = objective or objective_of(method, batch.inputs.shape[1]), [0]
    parameters = trained_by(method, modules)
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    if method != "SMT" and modules.teacher is not None:
        modules.teacher.requires_grad_(False)

    def step() -> None:
        number[0] += 1
        optimizer.zero_grad()
        objective(modules, batch, update=number[0]).loss.backward()
        optimizer.step()

    return step


def lstm_update(width: int, sizes: Sizes, batch: Batch) -> Callable[[], None]:
    """One update per call of embedding, torch's fused `nn.LSTM` and a linear layer, all of one width."""
    torch.manual_seed(0)
    parts = (nn.Embedding(sizes.vocabulary, width), nn.LSTM(width, width, batch_first=True))
    embedding, lstm, out = model = nn.ModuleList([*parts, nn.Linear(width, sizes.vocabulary)]).to(batch.inputs.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        logits = out(lstm(embedding(batch.inputs))[0])
        F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten()).backward()
        optimizer.step()

    return step
