"""What our tasks share: the schedules of a run, the length curriculum, its cost, and what becomes of its measures."""

import logging
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from omegaconf import II

from fairseq_smt.core.depth import AT_ONCE, Depth, through_time
from fairseq_smt.core.interface import on_host
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.schedules import LengthCurriculum, Numbers, Schedules, Span
from fairseq_smt.core.spent import Spent
from fairseq_smt.data.label_cache.reader import LabelCache
from fairseq_smt.errors import ConfigurationError

logger = logging.getLogger(__name__)


@dataclass
class CurriculumConfig(FairseqDataclass):
    """Flags of the length curriculum."""

    curriculum_start: int = field(
        default=0,
        metadata={
            "help": "length that training blocks are cut to at first; it grows to --tokens-per-sample; 0: full blocks"
        },
    )
    curriculum_updates: int = field(
        default=-1,
        metadata={
            "help": "updates over which blocks grow to their full length; -1: half of --max-update, or 2000 without one"
        },
    )
    max_update: int = II("optimization.max_update")


def depth_of(model, criterion, length: int) -> Depth:
    """Depth of a training step on blocks of `length`: an objective says its own, a recurrent model goes through time.

    Models of fairseq's are recurrent if they have a part of torch's that is; their layers count as one.
    """
    if hasattr(criterion, "depth"):
        return criterion.depth
    recurrent = (torch.nn.RNNBase, torch.nn.RNNCellBase, RecurrentLanguageModel)
    return through_time(length) if any(isinstance(m, recurrent) for m in model.modules()) else AT_ONCE


class ScheduledTask:
    """Mixin in front of a fairseq task.

    The task owns the run's schedules: a criterion adds its own, and all of them travel in the checkpoint's extra state.
    fairseq saves `task.state` too, but restores it in scoring and generation only.

    What the run has cost travels with them, and every validation logs it.

    Blocks are cut in `train_step`, which runs in the training process and is told the update. No worker that has loaded
    ahead, resumed run or second process can be at another length. Validation sees full blocks.
    """

    label_cache: LabelCache | None = None
    """The cache that samples have their labels from, once a dataset has been loaded with one."""

    curriculum: LengthCurriculum
    schedules: Schedules
    spent: Spent
    block_length: int | None = None
    """Length of the blocks in the last training step."""

    logs: list[dict[str, Any]]
    """What the micro-batches of the update under way logged in this process, as long as nothing else has it."""

    def set_up_curriculum(self, cfg: CurriculumConfig, full: int) -> None:
        """Read the flags; call it from `__init__`.

        Raises:
            ConfigurationError: for a curriculum that does not fit into blocks of `full` tokens.
        """
        span = Span(cfg.curriculum_updates, cfg.max_update, "--curriculum-updates")
        self.curriculum = LengthCurriculum(cfg.curriculum_start, span, full)
        self.spent = Spent()
        self.schedules = Schedules(spent=self.spent)
        if cfg.curriculum_start:
            self.schedules["curriculum_updates"] = span
        self.logs = []

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """What fairseq adds to the extra state of a checkpoint: plain numbers, which it can load again."""
        return {"schedules": self.schedules.state_dict()}

    def resume_schedules(self, state: dict[str, Numbers]) -> None:
        """Go on with the schedules of a checkpoint of this run."""
        for sentence in self.schedules.load_state_dict(state):
            logger.info(sentence)

    def begin_valid_epoch(self, epoch, model) -> None:
        """Forget the validation before, so that the means in a checkpoint are those of the last one; stop the watch."""
        self.spent.stop()
        metrics.reset_meters("valid")
        super().begin_valid_epoch(epoch, model)

    def truncate(self, sample: dict[str, Any], length: int) -> dict[str, Any]:
        """The sample with its blocks cut to their first `length` positions; the sample given stays as it is.

        `ntokens` counts what fairseq's datasets of text count: all positions that are not padding.
        """
        net_input = sample["net_input"]
        net_input = net_input | {
            "src_tokens": net_input["src_tokens"][:, :length].contiguous(),
            "src_lengths": net_input["src_lengths"].clamp(max=length),
        }
        lengths = [min(n, length) for n in sample["lengths"]]
        cached = {"labels": sample["labels"][:, :length]} if "labels" in sample else {}
        return sample | {
            "net_input": net_input,
            "target": sample["target"][:, :length].contiguous(),
            "lengths": lengths,
            "ntokens": sum(lengths),
            **cached,
        }

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """fairseq's iterator.

        Raises:
            ConfigurationError: when there is no batch in it, or a block that is longer than --max-tokens.
        """
        try:
            batches, refused = super().get_batch_iterator(dataset, *args, **kwargs), None
        except (AssertionError, IndexError) as error:  # of fairseq's batching: a block too long, or none left
            if len(dataset) and max(dataset.sizes) <= (kwargs.get("max_tokens") or math.inf):
                raise
            refused = error
        if refused or len(batches.frozen_batches) == 0:
            names = [f" of split {name}" for name, loaded in self.datasets.items() if loaded is dataset]
            blocks, multiple = len(dataset), kwargs.get("required_batch_size_multiple", 1)
            remedy = "raise --max-tokens to the length of a block at least"
            if blocks < multiple:
                remedy = (
                    f"{self.more_blocks(dataset, multiple)}, or add --required-batch-size-multiple 1 (it is {multiple})"
                )
            number = "1 block" if blocks == 1 else f"{blocks} blocks"
            raise ConfigurationError(f"no batch can be made of {number}{''.join(names)}: {remedy}.") from refused
        return batches

    def more_blocks(self, dataset, needed: int) -> str:
        """What makes as many blocks as are needed of a split that has too few."""
        args = getattr(self, "args", None)  # probes are cut from no text
        names = ("shorten_method", "sample_break_mode")
        shortened, mode = (getattr(value, "value", value) for value in (getattr(args, name, "none") for name in names))
        if shortened != "none":
            return f"remove --shorten-method {shortened}, which drops all but --tokens-per-sample symbols of a line"
        if mode in (None, "none"):
            return "give more data or shorter blocks"
        if int(dataset.sizes.sum()) // args.tokens_per_sample >= needed:
            return f"replace --sample-break-mode {mode}, under which a line is a block however long, by none"
        return "give more data"

    def tokens_of(self, sample: dict[str, Any]) -> int:
        """Tokens that a model reads in a sample, whether or not it is asked for something there."""
        return sum(sample["lengths"])

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False, **kwargs):
        self.spent.start(gpu=sample["net_input"]["src_tokens"].is_cuda)
        self.block_length = self.curriculum.length(update_num)
        if self.block_length < self.curriculum.full:
            sample = self.truncate(sample, self.block_length)
        loss, sample_size, log = super().train_step(
            sample, model, criterion, optimizer, update_num, ignore_grad, **kwargs
        )
        log["tokens_read"] = self.tokens_of(sample)
        if not ignore_grad:
            length = sample["net_input"]["src_tokens"].shape[1]
            self.spent.depth += depth_of(model, criterion, length).calls
        if getattr(optimizer, "scaler", None) is None:  # with one, fairseq skips updates that are not finite
            self.logs.append(log)
        return loss, sample_size, log

    def reduce_metrics(self, logging_outputs, criterion) -> None:
        """Log what was summed over processes; our criterions check it, and move their schedules after an update.

        Raises:
            ConfigurationError: for a loss that is not finite, in all processes alike.
        """
        self.logs.clear()
        ours = hasattr(criterion, "observe")
        if ours:
            logging_outputs = [on_host(logging_outputs)]
            criterion.check_finite(logging_outputs[0])
        super().reduce_metrics(logging_outputs, criterion)
        if not criterion.training:
            for name, value in self.spent.state_dict().items() if self.spent.tokens else ():
                metrics.log_scalar(f"cost_{name}", value, weight=0, round=2)
            return
        self.spent.tokens += int(sum(log["tokens_read"] for log in logging_outputs))
        if self.curriculum.start and self.block_length:
            metrics.log_scalar("block_length", self.block_length, weight=0)
        if ours:
            criterion.observe(logging_outputs[0])
