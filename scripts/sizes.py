#!/usr/bin/env python3
"""How big and how fast the architectures are on this machine, as a Markdown table for docs/explanation/cost.md.

    OMP_NUM_THREADS=1 python scripts/sizes.py [--arch smt_lm_tiny smt_lm_small] [--rounds 3] [--device cuda]

Parameters are counted, memory is computed by the formulas of benchmarks/cost.py, and tokens per second are measured:
an update is draws, forward, backward and AdamW on random tokens, CPU time. B is that of the recipe, or less where
--most-tokens says so. A vocabulary of 88 characters.
"""

import argparse
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import fairseq  # noqa: E402, F401

import fairseq_smt  # noqa: E402
from cost import Cost, Sizes, dmt, smt  # noqa: E402
from report import table  # noqa: E402
from timing import medians, rounds  # noqa: E402
from updates import batch_of, modules_of, trained_by  # noqa: E402

fairseq_smt.register()

from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig, flag_of, from_flags  # noqa: E402
from fairseq_smt.core.interface import Batch, Modules  # noqa: E402
from fairseq_smt.core.objectives import DaggerMemoryTraining, SupervisedMemoryTraining  # noqa: E402
from fairseq_smt.models.defaults import recipe  # noqa: E402
from fairseq_smt.models.presets import LOSSES, PRESETS  # noqa: E402

MIB = 2**20
PER_PARAMETER = 16
"""Bytes of a trained float32 parameter: itself, its gradient and the two moments of Adam."""


def sizes_of(arch: str) -> Sizes:
    """The sizes of an architecture."""
    flags = argparse.Namespace(**PRESETS[arch])
    parts = (from_flags(config, flags) for config in (RnnConfig, TeacherConfig, FutureConfig))
    return Sizes(88, *parts)


def objectives(arch: str, length: int) -> dict[str, Any]:
    """The objectives of SMT and DMT with the losses that the architecture brings along."""
    given = {"smt": LOSSES[arch], "dmt": recipe(arch, "dmt")["criterion"]}
    found = {}
    for name, kind in (("smt", SupervisedMemoryTraining), ("dmt", DaggerMemoryTraining)):
        known = {flag_of(f) for f in vars(kind)["__dataclass_fields__"].values()}
        flags = {key: value for key, value in given[name].items() if key in known}
        found[name] = replace(from_flags(kind, argparse.Namespace(**flags)), horizon=length)
    return found


def update(method: str, objective: Any, modules: Modules, batch: Batch) -> Callable[[], None]:
    """One update per call."""
    number, parameters = [0], trained_by(method.upper(), modules)
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step() -> None:
        number[0] += 1
        modules.teacher.requires_grad_(method == "smt")
        optimizer.zero_grad()
        objective(modules, batch, update=number[0]).loss.backward()
        optimizer.step()

    return step


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def millions(number: int) -> str:
    return f"{number / 1e6:.2f} M"


def mebibytes(cost: Cost, modules: Modules, method: str) -> float:
    """MiB of an update in float32: what waits for the backward pass, weights, gradients and moments."""
    trained = sum(p.numel() for p in trained_by(method.upper(), modules))
    frozen = 4 * count(modules.teacher) if method == "dmt" else 0
    return (4 * cost.held + PER_PARAMETER * trained + frozen) / MIB


def row_of(arch: str, most: int, number: int, device: torch.device, at_least: float = 0.5) -> list[str]:
    """One line of the table; every case is measured for `at_least` seconds in each of `number` rounds."""
    sizes, found = sizes_of(arch), recipe(arch, "smt")
    length, batch_size = found["task"]["tokens_per_sample"], found["dataset"]["batch_size"]
    measured, modules = max(1, min(batch_size, most // length)), modules_of(sizes, device)
    batch, kinds = batch_of(sizes, measured, length, device), objectives(arch, length)
    cases = {method: update(method, objective, modules, batch) for method, objective in kinds.items()}
    prompt = batch.inputs[:1, :8]
    cases["generate"] = lambda: modules.rnn.generate(prompt, steps=64)
    times = medians(rounds(cases, device, number, at_least, arch))
    rolled = kinds["dmt"]
    chunk, offset = (length, 0) if rolled.rollout == "sequential" else (rolled.chunk, 1)
    costs = {
        "smt": smt(sizes, batch_size, length, kinds["smt"]),
        "dmt": dmt(sizes, batch_size, length, chunk=chunk, offset=offset, cut=rolled.drift_backprop),
    }
    tokens = measured * length
    return [
        f"`{arch}`",
        *(millions(count(part)) for part in (modules.rnn, modules.teacher, modules.future)),
        f"{sizes.rnn.memory_tokens} × {sizes.rnn.memory_width}",
        f"{batch_size} × {length}",
        *(f"{mebibytes(cost, modules, method):,.0f}" for method, cost in costs.items()),
        f"{measured} × {length}",
        *(f"{tokens / times[method]:,.0f}" for method in kinds),
        f"{64 / times['generate']:,.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", choices=list(PRESETS), default=list(PRESETS), help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds whose median counts")
    parser.add_argument("--most-tokens", type=int, default=2048, help="tokens of a measured batch, at least one block")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    head = ["`--arch`", "RNN", "teacher", "future predictor", "memory", "B × T", "MiB, SMT", "MiB, DMT"]
    head += ["measured at", "tokens/s, SMT", "tokens/s, DMT", "generated/s"]
    rows = [row_of(arch, args.most_tokens, args.rounds, torch.device(args.device)) for arch in args.arch]
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{torch.get_num_threads()} thread(s), {versions}, {args.device}\n")
    print("\n".join(table(head, rows)))


if __name__ == "__main__":
    main()
