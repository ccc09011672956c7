"""Carried memory: the RNN goes on from block to block of a text, in training and in scoring."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed import utils as distributed
from omegaconf import II

from fairseq_smt.core.carried import Carried, Streams
from fairseq_smt.data.streams import StreamDataset, order_for_scoring, order_for_training
from fairseq_smt.errors import require, require_positive

logger = logging.getLogger(__name__)


@dataclass
class CarryConfig(FairseqDataclass):
    """Flags of carried memory."""

    carry_memory: bool = field(
        default=False,
        metadata={
            "help": "blocks follow each other in the order of the text, and memory goes on from one to the next, in "
            "training, validation and scoring"
        },
    )
    carry_streams: int = field(
        default=1,
        metadata={
            "help": "with --carry-memory, parts that validation and scoring cut a split of one text into and read side "
            "by side, each from the initial memory; 1: the text as a whole"
        },
    )
    update_freq: list[int] = II("optimization.update_freq")


class InOrder(EpochBatchIterator):
    """fairseq's iterator, never shuffled: not even when a checkpoint says so."""

    def _get_iterator_for_epoch(self, epoch, shuffle, **kwargs):
        return super()._get_iterator_for_epoch(epoch, False, **kwargs)


class Attached:
    """Batches of an iterator, each with the streams that its rows are of; for fairseq-eval-lm, which asks no task."""

    def __init__(self, batches: Any, streams: Streams):
        self.batches, self.streams, self.n = batches, streams, batches.n

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (attach(batch, self.streams) for batch in self.batches)


def attach(sample: dict[str, Any], streams: Streams) -> dict[str, Any]:
    """The sample with the streams among what the model is called with."""
    if not sample:
        return sample
    carried = Carried(streams, sample["rows"], sample["begins"])
    return sample | {"net_input": sample["net_input"] | {"carried": carried}}


class CarryingTask:
    """Mixin in front of a task whose datasets are `StreamDataset`s with --carry-memory.

    Training and validation have streams of their own. Those of training travel in the checkpoint.
    """

    training_streams: Streams | None = None
    scoring_streams: Streams | None = None
    scores_something = True
    """Whether this process, or shard, has a text in the split that was asked for last."""

    layout: list[int] | None = None
    """Blocks, rows and parts of the order that the training streams are of."""

    share: tuple[int, int] = (0, 1)
    """Which of the parts, modulo how many, this process trains on."""

    def set_up_carrying(self, cfg: CarryConfig) -> None:
        """Read the flags; call it from `__init__`.

        Raises:
            ConfigurationError: for flags that do not go together.
        """
        require_positive(carry_streams=cfg.carry_streams)
        if not cfg.carry_memory:
            require(cfg.carry_streams == 1, "--carry-streams needs --carry-memory: add it, or remove --carry-streams.")
            return
        require(not cfg.label_cache, "--label-cache holds labels of blocks that start anew: remove --carry-memory.")
        require(
            not cfg.curriculum_start,
            "--curriculum-start leaves out the ends of blocks, which --carry-memory reads on from: remove one of them.",
        )
        require(not cfg.pad_to_fixed_bsz, "--pad-to-fixed-bsz adds rows of no text: remove it, or --carry-memory.")
        require(
            len(set(cfg.update_freq)) == 1,
            "--carry-memory needs one --update-freq for all epochs: give a single number.",
        )
        logger.info(
            "memory is carried from block to block; validation and scoring carry it too, and read a split of one text "
            f"in --carry-streams {cfg.carry_streams}"
        )

    def build_model(self, cfg, from_checkpoint=False):
        model = super().build_model(cfg, from_checkpoint)
        if self.args.carry_memory:
            require(
                hasattr(model, "rnn"),
                f"--carry-memory needs a model with a memory, not a {type(model).__name__}: remove it, or give --arch "
                "smt_lm_small.",
            )
            require(
                str(cfg.score_with) == "rnn",
                "--score-with teacher has no context before a block: remove --carry-memory, or score with the RNN.",
            )
        return model

    def build_criterion(self, cfg, *args):
        criterion = super().build_criterion(cfg, *args)
        require(
            not self.args.carry_memory or not getattr(criterion, "reads_labels", False),
            f"the teacher of --criterion {cfg._name} has no context before a block: remove --carry-memory, or train "
            "with chunked_bptt or cross_entropy; fairseq-eval-lm scores any checkpoint with it.",
        )
        return criterion

    def build_generator(self, *args, **kwargs):
        require(not self.args.carry_memory, "--carry-memory is for training and scoring: generate without it.")
        return super().build_generator(*args, **kwargs)

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """fairseq's iterator, or batches in the order of the text.

        Raises:
            ConfigurationError: when there are too few blocks for a batch.
        """
        if not isinstance(dataset, StreamDataset):
            return super().get_batch_iterator(dataset, *args, **kwargs)
        return self._in_order(dataset, *args, **kwargs)

    def _in_order(
        self,
        dataset: StreamDataset,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        seed: int = 1,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 0,
        epoch: int = 1,
        data_buffer_size: int = 0,
        skip_remainder_batch: bool = False,
        **others,
    ) -> InOrder:
        """An iterator; of what else fairseq gives, nothing applies to blocks that stay in their order.

        --required-batch-size-multiple would leave out rows, hence text.
        """
        length = self.args.tokens_per_sample
        limits = [max_sentences] if max_sentences else []
        if max_tokens:
            limits.append(max_tokens // min(length, int(dataset.sizes.max(initial=1))))
        rows = min(limits)
        require(rows > 0, f"a block of {length} tokens is longer than --max-tokens {max_tokens}: raise --max-tokens.")
        if "grouped_shuffling" in others:  # which fairseq says of training data alone
            parts = num_shards * self.args.update_freq[0]
            dataset = dataset.cut_anew(length)
            batches = order_for_training(dataset.blocks, rows, parts)
            require(
                batches,
                f"{len(dataset)} blocks cannot be divided among {parts} (processes × --update-freq) with "
                "--carry-memory: give more data, shorter blocks or a smaller --update-freq.",
            )
            self._begin([len(dataset), len(batches[0]), parts])
            self.share = shard_id, num_shards
        else:
            dataset = dataset.cut_anew(length, self.args.carry_streams if len(dataset.texts) == 1 else 1)
            batches = order_for_scoring(dataset.blocks, rows, num_shards)
            self.scores_something = any(batches[shard_id::num_shards])
            self.scoring_streams = Streams(rows, again=dataset.add_bos_token and dataset.bos_predicts_bos)
        return InOrder(
            dataset,
            dataset.collater,
            batches,
            seed=seed,
            num_shards=num_shards,
            shard_id=shard_id,
            num_workers=num_workers,
            epoch=epoch,
            buffer_size=data_buffer_size,
            skip_remainder_batch=skip_remainder_batch,
        )

    def _begin(self, layout: list[int]) -> None:
        """Have streams for an order of training data; those of the epoch before, or of a checkpoint, where they fit."""
        if self.layout != layout:
            if self.layout is not None:
                logger.info("the streams are others than before: those under way go on from the initial memory")
            self.training_streams, self.layout = Streams(layout[1] * layout[2]), layout

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False, **kwargs):
        if self.training_streams is not None and not ignore_grad:  # ignored: a batch once more, where there is no other
            sample = attach(sample, self.training_streams)
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad, **kwargs)

    def valid_step(self, sample, model, criterion, **kwargs):
        if self.scoring_streams is not None:
            sample = attach(sample, self.scoring_streams)
        return super().valid_step(sample, model, criterion, **kwargs)

    def eval_lm_dataloader(self, dataset, **kwargs):
        if not self.args.carry_memory:
            return super().eval_lm_dataloader(dataset, **kwargs)
        require(
            not kwargs.get("context_window"),
            "--context-window reads again what --carry-memory remembers: remove one of them.",
        )
        batches = super().eval_lm_dataloader(dataset, **kwargs)
        require(
            self.scores_something,
            f"shard {kwargs.get('shard_id')} has no text: with --carry-memory shards are given whole texts, so lower "
            "--num-shards or --batch-size, or cut a split of one text by --carry-streams.",
        )
        return Attached(batches, self.scoring_streams)

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """What fairseq adds to a checkpoint, with the memories of all streams as `gather_memories` left them."""
        streams = self.training_streams
        if streams is None or streams.memories is None:
            return super().get_checkpoint_dict()
        carried = {"layout": self.layout, "memories": streams.memories.cpu()}
        return super().get_checkpoint_dict() | {"carried_memory": carried}

    def gather_memories(self, group: Any) -> None:
        """Have the memories of all processes in each; all must call it, before a checkpoint is written."""
        streams, (shard, shards) = self.training_streams, self.share
        if shards == 1 or streams is None or streams.memories is None:
            return
        part = torch.arange(streams.number, device=streams.memories.device) // self.layout[1]
        own = (part % shards == shard)[:, None, None]
        streams.memories = distributed.all_reduce(streams.memories.where(own, 0), group)

    def resume_memories(self, state: dict[str, Any] | None) -> None:
        """Go on with the memories of a checkpoint of this run, if its order of the data is this one's."""
        if state and self.args.carry_memory:
            self.layout = list(state["layout"])
            self.training_streams = Streams(len(state["memories"]))
            self.training_streams.memories = state["memories"]
