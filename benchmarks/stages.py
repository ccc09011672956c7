#!/usr/bin/env python3
"""Stages of training on a text in this process, with the core modules alone, by CPU-seconds: for the search of recipes.

    python benchmarks/stages.py data-bin/shakespeare --teacher trunk_width=64 \\
        --stages smt:30:0.006 dmt:90:0.004:drift_weight=0.1

A stage is OBJECTIVE:SECONDS:RATE[:FIELD=VALUE,…], the fields those of the objective's dataclass. `bptt` is one chunk of
`chunked_bptt`. Rates follow the recipes' three phases, over seconds; blocks begin anywhere in the text, after a bos.
Prints a row of a Markdown table: bits per symbol of the RNN, from its initial memory, on validation blocks.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from fairseq.data import Dictionary, data_utils
from torch import Tensor

from cost import Sizes
from fairseq_smt.core import losses
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.interface import Batch, Modules, Terms
from fairseq_smt.core.objectives import ChunkedBackpropagation, DaggerMemoryTraining, SupervisedMemoryTraining
from updates import modules_of

Config = TypeVar("Config")
OBJECTIVES = {
    "smt": SupervisedMemoryTraining,
    "dmt": DaggerMemoryTraining,
    "chunked_bptt": ChunkedBackpropagation,
    "bptt": ChunkedBackpropagation,
}


def changed(config: Config, given: str) -> Config:
    """A dataclass with the fields of NAME=VALUE,…"""
    pairs = [pair.split("=") for pair in given.split(",") if pair]
    return replace(config, **{name: type(getattr(config, name))(value) for name, value in pairs})


def split_of(data: Path, split: str) -> Tensor:
    """All symbols of a split, one after another."""
    dataset = data_utils.load_indexed_dataset(str(data / split))
    return torch.cat([dataset[i] for i in range(len(dataset))]).long()


def blocks(text: Tensor, starts: Tensor, length: int, bos: int, first_id: int = 0) -> Batch:
    """Blocks of a text, each behind a bos, whose own target is trained and not scored."""
    targets = text[starts[:, None] + torch.arange(length + 1)]
    inputs = torch.cat((torch.full_like(targets[:, :1], bos), targets[:, :-1]), dim=1)
    real = torch.ones_like(inputs, dtype=torch.bool)
    scored = real.index_fill(1, torch.tensor([0]), False)
    return Batch(inputs, targets, real, real, torch.arange(first_id, first_id + len(starts)), scored=scored)


@torch.no_grad()
def bits(memories_of: Callable[[Batch], Tensor], modules: Modules, text: Tensor, length: int, bos: int) -> float:
    """Bits per symbol of the readout on some 38,000 symbols of a text."""
    last = len(text) - length - 2
    total = number = 0.0
    for starts in torch.arange(0, last, max(1, last * length // 38_400)).split(64):
        batch = blocks(text, starts, length, bos)
        logits = modules.rnn.readout(memories_of(batch))
        total += float(losses.negative_log_likelihood(logits, batch.targets, batch.scored).sum())
        number += float(batch.scored.sum())
    return total / number / math.log(2)


def phase(share: float) -> float:
    """The factor on the learning rate after a share of a stage: warm-up, constant to 60 %, decay to 5 %."""
    if share < 0.0125:
        return 0.02 + 0.98 * share / 0.0125
    return 1.0 if share < 0.6 else 0.05 ** ((share - 0.6) / 0.4)


def train(
    objective: Callable[..., Terms],
    modules: Modules,
    batch_at: Callable[[int], Batch],
    seconds: float,
    rate: float,
) -> int:
    """Train what an objective trains for so many CPU-seconds; how many updates these were."""
    teaches = isinstance(objective, SupervisedMemoryTraining)
    parts = (modules.rnn, modules.teacher, modules.future) if teaches else (modules.rnn,)
    if not teaches:
        modules.teacher.requires_grad_(False)
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    start, update = time.process_time(), 0
    while (share := (time.process_time() - start) / seconds) < 1:
        options: dict[str, Any] = {"ramp": min(1.0, 2 * share)} if teaches else {}
        for group in optimizer.param_groups:
            group["lr"] = rate * phase(share)
        optimizer.zero_grad()
        objective(modules, batch_at(update), update=update, **options).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        update += 1
    return update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder written by fairseq-preprocess")
    parser.add_argument("--stages", nargs="+", required=True, metavar="STAGE")
    for name in ("rnn", "teacher", "future"):
        parser.add_argument(f"--{name}", default="", help="NAME=VALUE,… of fairseq_smt/core/configs.py")
    parser.add_argument("--tokens-per-sample", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    length, dictionary = args.tokens_per_sample, Dictionary.load(str(args.data / "dict.txt"))
    configs = (changed(c, g) for c, g in ((RnnConfig(), args.rnn), (TeacherConfig(), args.teacher)))
    modules = modules_of(Sizes(len(dictionary), *configs, changed(FutureConfig(), args.future)), seed=args.seed)
    text, valid = split_of(args.data, "train"), split_of(args.data, "valid")
    generator, row = torch.Generator().manual_seed(args.seed), []

    def batch_at(update: int) -> Batch:
        starts = torch.randint(len(text) - length - 2, (args.batch_size,), generator=generator)
        return blocks(text, starts, length, dictionary.bos(), update * args.batch_size)

    for stage in args.stages:
        name, seconds, rate, *fields = stage.split(":")
        objective = changed(OBJECTIVES[name](), ",".join(fields))
        objective = replace(objective, horizon=length, **({"chunk": length + 1} if name == "bptt" else {}))
        updates = train(objective, modules, batch_at, float(seconds), float(rate))
        scored = partial(bits, modules=modules, text=valid, length=length, bos=dictionary.bos())
        row += [
            f"{name} {1000 * float(seconds) / updates:.0f} ms",
            f"{scored(lambda b: modules.rnn.unroll(b.inputs)):.3f}",
        ]
        if name == "smt":
            row[-1] += f" ({scored(lambda b: modules.teacher.labels(b.inputs)):.3f})"
    print(f"| {args.rnn} {args.teacher} {args.future} | {' '.join(args.stages)} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
