#!/usr/bin/env python3
"""A teacher and an RNN by SMT, then the RNN by DMT, in plain torch on Python's own help texts: 40 CPU-seconds.

    python examples/train_without_fairseq.py [--updates 400]

Only `fairseq_smt.core` is imported: no fairseq, no data to fetch.
"""

import argparse
import math
import time
from pydoc_data.topics import topics

import torch

from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.future import build_future
from fairseq_smt.core.interface import Batch, Modules
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.losses import mean_of
from fairseq_smt.core.objectives import DaggerMemoryTraining, SupervisedMemoryTraining
from fairseq_smt.core.schedules import Ramp, Span
from fairseq_smt.core.teacher import build_teacher

T, B = 64, 16
"""Positions of a block, blocks of a batch."""

RNN = RnnConfig(memory_tokens=2, memory_width=64, cell="gru", cell_hidden=64)
TEACHER = TeacherConfig(memory_head="projection", trunk_width=64, trunk_layers=2)
FUTURE = FutureConfig(futures=8, future_width=32)


def read() -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """The characters, and their ids in the training and the test text."""
    text = "".join(topics[name] for name in sorted(topics))
    symbols = sorted(set(text))
    number = {symbol: i for i, symbol in enumerate(symbols)}
    ids = torch.tensor([number[symbol] for symbol in text])
    return symbols, ids[: -len(ids) // 20], ids[-len(ids) // 20 :]


def batch_at(ids: torch.Tensor, starts: torch.Tensor) -> Batch:
    """Blocks of T characters and what follows each of them; nothing is padded, everything is asked."""
    blocks = ids[starts[:, None] + torch.arange(T + 1)]
    everything = torch.ones(len(starts), T, dtype=torch.bool)
    return Batch(blocks[:, :-1], blocks[:, 1:], real=everything, asked=everything, ids=starts)


def train(modules: Modules, objective, ids: torch.Tensor, updates: int, learning_rate: float, ramp: Ramp | None = None):
    """Minimise an objective over the parameters that are not frozen."""
    parts = [part for part in vars(modules).values() if part is not None]
    trained = [p for part in parts for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    generator = torch.Generator().manual_seed(1)
    for update in range(updates):
        batch = batch_at(ids, torch.randint(len(ids) - T, (B,), generator=generator))
        options = {"ramp": ramp.factor(update)} if ramp else {}
        loss = objective(modules, batch, update=update, **options).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate * min(1.0, 2.5 * (1 - update / updates))
        optimizer.step()
        if (update + 1) % 100 == 0 or update + 1 == updates:
            print(f"  update {update + 1}: loss {loss.item() / math.log(2):.2f} bits")


@torch.no_grad()
def bits(modules: Modules, objective, ids: torch.Tensor) -> dict[str, float]:
    """Measures of an objective on a text that was not trained on, in bits."""
    terms = objective(modules, batch_at(ids, torch.arange(0, len(ids) - T, T)), training=False)
    return {name: (mean_of(*pair) / math.log(2)).item() for name, pair in terms.measures.items()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=400, help="of SMT; DMT has half as many")
    updates = parser.parse_args(argv).updates
    torch.manual_seed(1)
    torch.set_num_threads(1)
    start = time.process_time()
    symbols, text, test = read()
    vocabulary = len(symbols)

    modules = Modules(
        rnn=RecurrentLanguageModel(vocabulary, RNN),
        teacher=build_teacher(vocabulary, RNN, TEACHER),
        future=build_future(vocabulary, RNN, FUTURE),
    )
    print(f"SMT, {updates} updates: teacher, future predictor and RNN, every step at once")
    smt = SupervisedMemoryTraining(horizon=T)
    train(modules, smt, text, updates, 0.005, ramp=Ramp(Span(updates // 2)))
    after_smt = bits(modules, smt, test)

    print(f"DMT, {updates // 2} updates: the RNN on its own memories, the teacher frozen")
    modules.teacher.requires_grad_(False)
    modules.future = None
    dmt = DaggerMemoryTraining(horizon=T)
    train(modules, dmt, text, updates // 2, 0.01)
    after_dmt = bits(modules, dmt, test)

    print(f"bits per character on held-out text, after {time.process_time() - start:.0f} CPU-seconds")
    print(f"  RNN alone after SMT          {after_smt['rnn_nll']:.2f}")
    print(f"  RNN alone after SMT and DMT  {after_dmt['rnn_nll']:.2f}")
    print(f"  ceiling                      {after_smt['ceiling_nll']:.2f}")

    prompt = "The statement"
    ids = torch.tensor([[symbols.index(character) for character in prompt]])
    written = modules.rnn.generate(ids, steps=200, top_p=0.9, generator=torch.Generator().manual_seed(1))
    print(prompt + "".join(symbols[i] for i in written[0]))


if __name__ == "__main__":
    main()
