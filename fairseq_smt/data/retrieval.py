"""The retrieval probe: one value among noise, asked for at the end. It shows how far gradients carry.

noise noise VALUE noise … noise QUERY   →   VALUE at the last position, nothing elsewhere
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fairseq_smt.core.batch import Batch
from fairseq_smt.core.errors import require, require_positive
from fairseq_smt.core.random import keyed_uniform


@dataclass
class Retrieval:
    """Seeded generator of retrieval sequences; sequence i is the same in every process and at every call.

    Token 0 is the query, then come `values` value tokens and `noise` noise tokens. A shorter sequence of the same index
    has the same value and a prefix of the same noise, and the query at its own end.

    Attributes:
        length: T, at least 2.
        values: value tokens; chance is 1 / values.
        noise: noise tokens.
        seed: of the sequences.
    """

    length: int
    values: int = 8
    noise: int = 8
    seed: int = 1

    shortest: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require(
            self.length >= self.shortest,
            f"--tokens-per-sample must be at least {self.shortest} for --probe retrieval, not {self.length}.",
        )
        require_positive(probe_values=self.values, probe_noise=self.noise)

    @property
    def symbols(self) -> list[str]:
        """Names of the tokens."""
        return ["?", *(f"v{i}" for i in range(self.values)), *(f"n{i}" for i in range(self.noise))]

    @property
    def vocabulary(self) -> int:
        """V."""
        return 1 + self.values + self.noise

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.values

    def batch(self, indices: list[int] | Tensor, length: int | None = None) -> Batch:
        """Sequences `indices` of `length` positions, T unless given, of which only the last is asked."""
        ids = torch.as_tensor(indices)
        length = length or self.length

        def draw(stream: int, low: int, high: int, n: int) -> Tensor:
            return low + (keyed_uniform(self.seed, 0, stream, ids, n) * (high - low)).long()

        inputs = draw(0, 1 + self.values, self.vocabulary, length)
        value = draw(1, 1, 1 + self.values, 1)
        inputs.scatter_(1, draw(2, 0, length - 1, 1), value)
        inputs[:, -1] = 0
        targets = torch.zeros_like(inputs)
        targets[:, -1:] = value
        asked = torch.zeros_like(inputs, dtype=torch.bool)
        asked[:, -1] = True
        return Batch(inputs, targets, torch.ones_like(asked), asked, ids)
