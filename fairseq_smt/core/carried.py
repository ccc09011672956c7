"""The memory carried from one block of a text to the next."""

from dataclasses import dataclass

import torch
from torch import Tensor


class Streams:
    """The memories (S, K, d) of S texts that are read side by side, block by block; without a gradient.

    Args:
        number: S.
        again: whether each block begins with the last token of the one before, which is then read twice.
    """

    def __init__(self, number: int, again: bool = False):
        self.number, self.again = number, again
        self.memories: Tensor | None = None

    def memories_like(self, initial: Tensor) -> Tensor:
        """The memories, on the device of m_∅ (B, K, d), from which all of them begin."""
        if self.memories is None:
            self.memories = initial[:1].detach().expand(self.number, -1, -1).clone()
        self.memories = self.memories.to(initial)
        return self.memories


@dataclass
class Carried:
    """Where the rows of one batch stand among the streams.

    Attributes:
        rows: the stream of each row, (B,), all different.
        begins: whether a row starts from m_∅, (B,).
    """

    streams: Streams
    rows: Tensor
    begins: Tensor

    def start(self, initial: Tensor) -> Tensor:
        """What the rows start from, (B, K, d): m_∅ as given, with its gradient, or their stream's memory."""
        memories = self.streams.memories_like(initial)[self.rows.to(initial.device)]
        return torch.where(self.begins.to(initial.device)[:, None, None], initial, memories)

    def read(self, lengths: Tensor) -> Tensor:
        """Tokens after which the memory is kept, (B,), of rows with so many tokens."""
        return lengths - int(self.streams.again)

    @torch.no_grad()
    def keep(self, memory: Tensor) -> None:
        """Note the memories (B, K, d) that the next blocks of these rows start from; `start` comes first."""
        memories = self.streams.memories
        memories[self.rows.to(memories.device)] = memory.to(memories)
