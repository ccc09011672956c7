"""fairseq's own flags under our tasks: values that cannot be served, each with a sentence, refused before any work."""

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.registry import REGISTRIES
from omegaconf import DictConfig

from fairseq_smt.errors import require

OURS = ("smt", "dmt", "chunked_bptt")
POST_PROCESS = ("sentencepiece", "wordpiece", "letter", "silence", "_EOW", "subword_nmt", "@@", "@@ ", "none")
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
    """

    field: str
    values: str
    refused: Callable[[Any, DictConfig], bool]
    sentence: str

    @property
    def flag(self) -> str:
        group, _, name = self.field.partition(".")
        return "--" + (group if name == "_name" else name).replace("_", "-")

    def check(self, cfg: DictConfig) -> None:
        """Raise `ConfigurationError` if the config of a command has one of the values."""
        group, _, name = self.field.partition(".")
        value = getattr(cfg[group], name, None)
        if value is None and name == "_name":  # a criterion of fairseq's older kind
            value = getattr(cfg[group], group, None)
        if value is None:
            return
        value = getattr(value, "value", value)
        shown = self.flag if value is True else f"{self.flag} {value}"
        require(not self.refused(value, cfg), f"{shown} {self.sentence}")


def this_command() -> str:
    """Name of the fairseq command that runs, such as `eval-lm`."""
    return Path(sys.argv[0]).stem.replace("_", "-").removeprefix("fairseq-")


def below(least: int, *fields: str) -> list[Unserved]:
    """Rows for numbers that fairseq counts or divides by, at the end of an epoch or after an update."""
    sentence = f"is too small: give {least} or more."
    return [Unserved(field, f"below {least}", lambda v, c: v < least, sentence) for field in fields]


def given(value: Any, cfg: DictConfig) -> bool:
    """Any value but the default, which is None or False."""
    return value is not False


def is_for_another_task(criterion: Any, cfg: DictConfig) -> bool:
    """Whether a criterion is one of fairseq's that no language model can be trained by."""
    found = REGISTRIES["criterion"]["registry"].get(criterion)
    return found is not None and found.__module__.startswith("fairseq.") and criterion not in SERVED


def is_no_dictionary(text: str, cfg: DictConfig) -> bool:
    """Whether fairseq cannot evaluate a text to a dictionary; it may be a call, such as `dict(a=1)`."""
    try:
        return not isinstance(ast.parse(text.strip(), mode="eval").body, (ast.Dict, ast.Call))
    except SyntaxError:
        return True


def saves_nothing(interval: int, cfg: DictConfig) -> bool:
    """Whether a run ends by --max-epoch before an epoch whose checkpoint is kept."""
    return 0 < cfg.optimization.max_epoch < interval and not (
        cfg.optimization.max_update or cfg.checkpoint.save_interval_updates or cfg.checkpoint.no_save
    )


TABLE = [
    Unserved(
        "criterion._name", "of another task", is_for_another_task,
        f"is not for language models: give {', '.join(OURS)} or cross_entropy.",
    ),
    Unserved(
        "criterion._name", "`adaptive_loss`, with our models",
        lambda v, c: v == "adaptive_loss" and c.model._name.startswith("smt_lm"),
        "needs a model with an adaptive softmax, which smt_lm has not: give cross_entropy.",
    ),
    Unserved(
        "optimization.sentence_avg", f"with criterion {', '.join(OURS)}",
        lambda v, c: v and c.criterion._name in OURS,
        "averages over sentences, and this criterion averages over tokens: remove it.",
    ),
    Unserved(
        "distributed_training.ddp_backend", "`fully_sharded`", lambda v, c: v == "fully_sharded",
        "hides the parts of a model from its objective: use pytorch_ddp or legacy_ddp.",
    ),
    Unserved(
        "dataset.dataset_impl", "`fasta`", lambda v, c: v == "fasta",
        "is for sequences of bases, which have no dictionary: remove it.",
    ),
    Unserved(
        "common.profile", "without a GPU", lambda v, c: v and not torch.cuda.is_available(),
        "profiles a GPU, and there is none: remove it.",
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
        "common_eval.post_process", "in fairseq-eval-lm, but `subword_nmt`",
        lambda v, c: this_command() == "eval-lm" and v not in ("subword_nmt", "@@ "),
        "cannot be undone by fairseq-eval-lm, which knows subword_nmt alone: remove it; bits per byte do not need it.",
    ),
    Unserved(
        "common_eval.post_process", "of a name that fairseq does not know", lambda v, c: v not in POST_PROCESS,
        f"is unknown: give one of {', '.join(POST_PROCESS[:-3])}.",
    ),
    Unserved(
        "generation.print_alignment", "", given,
        "aligns a target with a source, and a language model has no source: remove it.",
    ),
    Unserved(
        "generation.replace_unk", "", given,
        "takes words from a source, and a language model has no source: remove it.",
    ),
    Unserved("generation.constraints", "", given, "is for translation alone: remove it."),
    Unserved(
        "generation.lm_path", "in fairseq-interactive", lambda v, c: this_command() == "interactive",
        "is read by fairseq-generate alone: remove it.",
    ),
    *(
        Unserved(
            field, "that are no dictionary of Python", is_no_dictionary,
            "is no dictionary of Python, such as {'a': 1}: write it like that, in quotes.",
        )
        for field in ("common_eval.model_overrides", "checkpoint.optimizer_overrides")
    ),
    Unserved(
        "dataset.valid_subset", "with an empty name", lambda v, c: not all(v.split(",")),
        "has an empty name: give names of splits with commas between them.",
    ),
    Unserved(
        "dataset.combine_valid_subsets", "with `--valid-subset`", lambda v, c: v and c.dataset.valid_subset != "valid",
        "reads the splits valid, valid1, … as one: remove --valid-subset.",
    ),
    Unserved(
        "common.seed", "outside of 0 to 2147483647", lambda v, c: not 0 <= v < 2**31,
        "is not a seed that all random generators take: give a number from 0 to 2147483647.",
    ),
    Unserved(
        "dataset.num_workers", "below 0, or above 1000", lambda v, c: not 0 <= v <= 1000,
        "is a number of processes: give one that this machine can run, or 0 for none.",
    ),
    Unserved(
        "dataset.shard_id", "outside of 0 to `--num-shards` - 1",
        lambda v, c: not 0 <= v < max(c.dataset.num_shards, 1),
        "is none of the shards, which are numbered from 0 to --num-shards - 1.",
    ),
    Unserved(
        "dataset.fixed_validation_seed", "beyond 64 bits", lambda v, c: not -(2**63) <= v < 2**63,
        "is not a number of 64 bits: give a smaller one.",
    ),
    *below(
        1, "common.log_interval", "common.fp16_init_scale", "common.fp16_scale_window", "checkpoint.save_interval",
        "dataset.validate_interval", "dataset.required_batch_size_multiple", "dataset.num_shards",
        "eval_lm.softmax_batch", "generation.beam",
    ),
    *below(0, "eval_lm.context_window", "dataset.max_valid_steps", "optimization.max_epoch", "optimization.max_update"),
    Unserved(
        "checkpoint.save_interval", "above `--max-epoch`", saves_nothing,
        "is above --max-epoch, so that no checkpoint would be written: lower it, or give --max-update.",
    ),
    Unserved(
        "checkpoint.keep_interval_updates_pattern", "0", lambda v, c: v == 0, "divides by nothing: give 1 or more."
    ),
    Unserved(
        "checkpoint.checkpoint_suffix", "with a `/`", lambda v, c: "/" in v,
        "is part of the names of files, which hold no /: remove it from the suffix.",
    ),
    Unserved(
        "optimization.update_freq", "below 1", lambda v, c: not v or min(v) < 1,
        "must be 1 or more in every epoch.",
    ),
    Unserved("optimization.lr", "below 0", lambda v, c: not v or min(v) < 0, "must not be negative."),
    Unserved(
        "ema.ema_decay", "outside of 0 to 1", lambda v, c: not 0 <= v <= 1, "must be a number from 0 to 1."
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
