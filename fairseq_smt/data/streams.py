"""Blocks in the order of the text, for a memory that goes on from one block to the next."""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fairseq.data import MonolingualDataset, TokenBlockDataset
from torch import Tensor

from fairseq_smt.data.blocks import BosAwareDataset


@dataclass
class Blocks:
    """Blocks of some texts, in their order, by positions in the whole split.

    Attributes:
        text: where the text of a block begins, (N,).
        start, end: positions that a block predicts, (N,).
        begins: whether a block starts from the initial memory, (N,).
        row: the stream that a block is of, (N,).
    """

    text: np.ndarray
    start: np.ndarray
    end: np.ndarray
    begins: np.ndarray
    row: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.row = np.zeros(len(self), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.start)


def cut(texts: np.ndarray, length: int, parts: int = 1) -> Blocks:
    """Cut texts (D, 2), first position and end, into parts that each start anew, and these into blocks of `length`."""
    steps = np.arange(parts + 1)
    edges = texts[:, :1] + (texts[:, 1:] - texts[:, :1]) * steps // parts
    first, last, text = edges[:, :-1].ravel(), edges[:, 1:].ravel(), np.repeat(texts[:, 0], parts)
    number = -(-(last - first) // length)
    within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    start = np.repeat(first, number) + within * length
    end = np.minimum(start + length, np.repeat(last, number))
    return Blocks(np.repeat(text, number), start, end, within == 0)


def order_for_training(blocks: Blocks, rows: int, parts: int) -> list[list[int]]:
    """Batches in which every row goes on where it was in the batch `parts` before.

    The blocks are divided among `parts` (processes × micro-batches of an update) and these among their rows, whose
    lengths differ by a block at most. Fewer than `parts` blocks at the end are left out, so that no part ends early.
    """
    share = len(blocks) // parts
    used = min(rows, share)
    if not used:
        return []
    lengths = share // used + (np.arange(used) < share % used)
    first = np.cumsum(lengths) - lengths
    blocks.row[: share * parts] = np.repeat(np.arange(used * parts), np.tile(lengths, parts))
    blocks.begins[(np.arange(parts)[:, None] * share + first).ravel()] = True
    return [
        [int(part * share + i + step) for i, n in zip(first, lengths, strict=True) if step < n]
        for step in range(lengths.max())
        for part in range(parts)
    ]


def order_for_scoring(blocks: Blocks, rows: int, shards: int) -> list[list[int]]:
    """Batches in which every row is one stretch of text from its beginning to its end, the longest stretches first.

    Batch i is for shard i % `shards`; one that has no more is given empty ones.
    """
    first = np.flatnonzero(blocks.begins)
    number = np.diff(np.append(first, len(blocks)))
    longest = np.argsort(-number, kind="stable")
    queues: list[list[list[int]]] = [[] for _ in range(shards)]
    for group in range(0, len(longest), rows):
        chosen = longest[group : group + rows]
        for row, stretch in enumerate(chosen):
            blocks.row[first[stretch] : first[stretch] + number[stretch]] = row
        queues[group // rows % shards] += [
            [int(first[stretch] + step) for stretch in chosen if step < number[stretch]]
            for step in range(number[chosen[0]])
        ]
    return [queue[i] if i < len(queue) else [] for i in range(max(map(len, queues))) for queue in queues]


class StreamDataset(BosAwareDataset):
    """Blocks of --tokens-per-sample that continue one another; a bos stands where one starts from the initial memory.

    A text is what fairseq's break mode would make one block of, were a block of any length. With `bos_predicts_bos`,
    every block has a column that scoring drops: its bos, or the last token that the block before has read.
    """

    texts: np.ndarray
    """First position and end of each text, (D, 2)."""

    @classmethod
    def like(cls, plain: MonolingualDataset, cfg: Any) -> "StreamDataset":
        """The same split as a dataset of fairseq's own class, cut as the task's configuration says."""
        dataset = super().like(plain)
        items = plain.dataset.dataset
        lengths = np.asarray(items.sizes, dtype=np.int64)
        mode = getattr(cfg.sample_break_mode, "value", cfg.sample_break_mode)
        _, _, texts = TokenBlockDataset._build_slice_indices(lengths, mode, 1, int(lengths.sum()))
        dataset.texts = np.asarray(texts, dtype=np.int64)
        dataset.items, dataset.item_ends = items, np.cumsum(lengths)
        dataset.follow(cut(dataset.texts, cfg.tokens_per_sample))
        return dataset

    def follow(self, blocks: Blocks) -> None:
        """Have these blocks."""
        self.blocks, self.sizes = blocks, blocks.end - blocks.start

    def cut_anew(self, length: int, parts: int = 1) -> "StreamDataset":
        """The same texts in blocks of their own, which an order may mark."""
        dataset = copy.copy(self)
        dataset.follow(cut(self.texts, length, parts))
        return dataset

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def supports_prefetch(self) -> bool:
        return False

    def read(self, start: int, end: int) -> Tensor:
        """The split's tokens from a position to another."""
        first = int(np.searchsorted(self.item_ends, start, side="right"))
        last = int(np.searchsorted(self.item_ends, end, side="left"))
        tokens = torch.cat([self.items[i] for i in range(first, last + 1)])
        before = int(self.item_ends[first - 1]) if first else 0
        return tokens[start - before : end - before]

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Source and target of a block; before a text stands eos."""
        blocks = self.blocks
        text, start, end = (int(x[index]) for x in (blocks.text, blocks.start, blocks.end))
        marked = self.add_bos_token and (bool(blocks.begins[index]) or self.bos_predicts_bos)
        tokens = self.read(max(text, start - 2), end).long()
        if start - 2 < text:
            tokens = torch.cat((tokens.new_tensor([self.vocab.eos()]), tokens))
        length = end - start
        target, source = tokens[-length:], tokens[-length - 1 : -1]
        if not marked:
            return source, target
        bos = tokens.new_tensor([self.vocab.bos()])
        before = bos if blocks.begins[index] else tokens[-length - 2 : -length - 1]
        return torch.cat((before, source)), torch.cat((bos if self.bos_predicts_bos else source[:1], target))

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch with the stream of each row (B,), and whether it starts from the initial memory (B,)."""
        batch = super().collater(samples)
        if not batch:
            return batch
        ids = batch["id"].numpy()
        rows, begins = (torch.from_numpy(x[ids]) for x in (self.blocks.row, self.blocks.begins))
        return batch | {"rows": rows, "begins": begins}
