"""Defaults of the command line that fairseq lacks: they come from the recipe of the architecture and the criterion.

fairseq looks `parse_args_and_arch` up in `options` at every call; importing this module replaces it. Recipes for
fairseq-hydra-train hold all values themselves.
"""

import argparse
import os
from functools import cache
from typing import Any

import torch
from fairseq import options
from omegaconf import OmegaConf

from fairseq_smt.models.presets import CONFIG, PRESETS
from fairseq_smt.replacing import replace

BATCH_SIZE = 8
"""Blocks per batch where no recipe says it, such as in fairseq-validate, which knows no architecture at first."""

TASKS = ("smt_lm", "smt_probe")

TORCHRUN = {"MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE"}
"""What torchrun tells its processes."""

TRAINING = {
    criterion: file.stem
    for file in (CONFIG / "training").glob("*.yaml")
    if (criterion := OmegaConf.select(OmegaConf.load(file), "criterion._name"))
}
"""Criterion → the way of training, in `fairseq_smt/config/training`, that names it."""


@cache
def recipe(arch: str | None, criterion: str | None) -> dict[str, Any] | None:
    """What hydra composes for an architecture and a criterion, without hydra; None unless both are known."""
    if arch not in PRESETS or criterion not in TRAINING:
        return None
    model, training = arch.removeprefix("smt_lm_"), TRAINING[criterion]
    names = (f"model/{model}", "training/common", f"training/{training}", f"numbers/{model}_{training}")
    files = [CONFIG / f"{name}.yaml" for name in names]
    return OmegaConf.to_container(OmegaConf.merge(*(OmegaConf.load(file) for file in files if file.exists())))


def defaults(args: argparse.Namespace) -> dict[str, Any]:
    """Optimizer, learning rate and batch size for what a command line leaves open.

    The learning rate is left to fairseq where another optimizer is asked for. The batch size is left to it where
    --max-tokens is given, and in scoring and generation, for which fairseq has one of its own.

    Args:
        args: what fairseq finds in its first look at the command line.
    """
    found: dict[str, Any] = {}
    chosen = recipe(getattr(args, "arch", None), getattr(args, "criterion", None))
    if chosen is not None:
        optimizer = chosen["optimizer"]["_name"]
        if args.optimizer in (None, optimizer):
            found |= {"optimizer": optimizer, "lr": chosen["optimization"]["lr"]}
    scores_or_generates = hasattr(args, "context_window") or hasattr(args, "beam")
    if args.task in TASKS and not scores_or_generates and args.batch_size is None and args.max_tokens is None:
        found["batch_size"] = chosen["dataset"]["batch_size"] if chosen else BATCH_SIZE
    return found


def processes(args: argparse.Namespace) -> dict[str, Any]:
    """The processes that torchrun has started, on CPU; fairseq finds them out where there is a GPU for each."""
    if not TORCHRUN <= os.environ.keys() or torch.cuda.is_available() and not args.cpu:
        return {}
    return {
        "cpu": True,
        "distributed_backend": "gloo",
        "distributed_init_method": "env://",
        "distributed_no_spawn": True,
        "distributed_rank": int(os.environ["RANK"]),
        "distributed_world_size": int(os.environ["WORLD_SIZE"]),
    }


def parse_args_and_arch(parser: argparse.ArgumentParser, input_args: list[str] | None = None, *rest, **kwargs):
    """fairseq's function; what the command line gives comes before our defaults.

    --bf16 means bfloat16 on any device."""
    args, _ = parser.parse_known_args(input_args)
    if hasattr(args, "task") and hasattr(args, "batch_size"):
        parser.set_defaults(**defaults(args))
    if hasattr(args, "distributed_rank"):
        parser.set_defaults(**processes(args))
    parsed = _parse(parser, input_args, *rest, **kwargs)
    found = parsed[0] if isinstance(parsed, tuple) else parsed
    found.tpu = getattr(args, "tpu", False)  # fairseq looks for one with --bf16
    return parsed


_parse = replace(options, "parse_args_and_arch", parse_args_and_arch)
