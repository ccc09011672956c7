"""fairseq's own flags under our tasks: values that cannot be served, each with a sentence, refused before any work."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.registry import REGISTRIES
from omegaconf import DictConfig, OmegaConf

from fairseq_smt.errors import require

OURS = ("smt", "dmt", "chunked_bptt")
SERVED = ("cross_entropy", "label_smoothed_cross_entropy", "adaptive_loss")
"""fairseq's criterions for language models."""


@dataclass(frozen=True)
class Unserved:
    """Values of one of fairseq's flags that a task of ours cannot serve.

    Attributes:
        field: its place in fairseq's config, such as `eval_lm.context_window`.
        values: which values, in words; empty for every value but the default.
        refused: whether a value is one of them, given the whole config.
        sentence: goes on after flag and value.
        command: the only command that cannot serve them, where others can.
    """

    field: str
    values: str
    refused: Callable[[Any, DictConfig], bool]
    sentence: str
    command: str = ""

    @property
    def flag(self) -> str:
        group, _, name = self.field.partition(".")
        return "--" + (group if name == "_name" else name).replace("_", "-")

    def check(self, cfg: DictConfig) -> None:
        """Raise `ConfigurationError` if the config of a command has one of the values."""
        value = OmegaConf.select(cfg, self.field)
        if value is None or self.command not in ("", this_command()):
            return
        value = getattr(value, "value", value)
        shown = self.flag if value is True else f"{self.flag} {value}"
        require(not self.refused(value, cfg), f"{shown} {self.sentence}")


def this_command() -> str:
    """Name of the fairseq command that runs, such as `eval-lm`."""
    return Path(sys.argv[0]).stem.replace("_", "-").removeprefix("fairseq-")


def at_least(least: int, *names: str) -> list[Unserved]:
    """Rows for numbers that fairseq counts or divides by, and looks at late."""
    return [
        Unserved(n, f"below {least}", lambda v, c: v < least, f"is too small: give at least {least}.") for n in names
    ]


def is_set(value: Any, cfg: DictConfig) -> bool:
    """Any value but the default, which is None or False."""
    return value not in (None, False)


def has_our_model(cfg: DictConfig) -> bool:
    return str(OmegaConf.select(cfg, "model._name")).startswith("smt_lm")


def is_foreign(criterion: str, cfg: DictConfig) -> bool:
    """Whether a criterion is one of fairseq's for other tasks."""
    found = REGISTRIES["criterion"]["registry"].get(criterion)
    return found is not None and found.__module__.startswith("fairseq.") and criterion not in SERVED


TABLE = [
    Unserved(
        "criterion._name",
        "of another task",
        is_foreign,
        f"is not for language models: give {', '.join(OURS)} or cross_entropy.",
    ),
    Unserved(
        "criterion._name",
        "`adaptive_loss`, with one of our models",
        lambda v, c: v == "adaptive_loss" and has_our_model(c),
        "needs a model with an adaptive softmax, which smt_lm has not: give cross_entropy.",
    ),
    Unserved(
        "optimization.sentence_avg",
        f"with criterion {', '.join(OURS)}",
        lambda v, c: v and c.criterion._name in OURS,
        "averages over sentences, and this criterion averages over tokens: remove it.",
    ),
    Unserved(
        "distributed_training.ddp_backend",
        "`fully_sharded`",
        lambda v, c: v == "fully_sharded",
        "hides the parts of a model from its objective: use pytorch_ddp or legacy_ddp.",
    ),
    Unserved(
        "common.amp", "with `--fp16` or `--bf16`", lambda v, c: v and (c.common.fp16 or c.common.bf16),
        "keeps weights in float32, and --fp16 and --bf16 do not: give one of them.",
    ),
    Unserved(
        "common.fp16", "with `--bf16`", lambda v, c: v and c.common.bf16, "and --bf16 exclude each other: give one."
    ),
    Unserved(
        "task.tensorboard_figures", "without `--tensorboard-logdir`",
        lambda v, c: v and not c.common.tensorboard_logdir,
        "writes to --tensorboard-logdir: give it a folder.",
    ),
    Unserved(
        "eval_lm.context_window", "as long as a block",
        lambda v, c: v > 0 >= c.task.tokens_per_sample,  # fairseq has subtracted it
        "leaves nothing of a block to score: give fewer than --tokens-per-sample.",
    ),
    Unserved(
        "common_eval.post_process", "but `subword_nmt`", lambda v, c: v not in ("subword_nmt", "@@ "),
        "cannot be undone by fairseq-eval-lm, which knows subword_nmt alone: remove it; bits per byte do not need it.",
        "eval-lm",
    ),
    Unserved(
        "generation.print_alignment", "", is_set,
        "aligns a target with a source, and a language model has no source: remove it.",
    ),
    Unserved("generation.constraints", "", is_set, "is for translation alone: remove it."),
    Unserved(
        "common.seed", "outside of 0 to 2147483647", lambda v, c: not 0 <= v < 2**31,
        "is not one that all random generators take: give a number from 0 to 2147483647.",
    ),
]  # fmt: skip
"""Checked in this order."""


def check(cfg: Any) -> None:
    """Look at the whole configuration of a command, given its task's part.

    In half precision on CPU, fairseq's optimizer is kept from flattening the gradients, which it does on a GPU alone.

    Raises:
        ConfigurationError: for a value in `TABLE`.
    """
    whole = cfg._get_parent() if isinstance(cfg, DictConfig) else None
    if whole is None:
        return
    for row in TABLE:
        row.check(whole)
    if whole.common.cpu or not torch.cuda.is_available():
        whole.common.fp16_no_flatten_grads = True
