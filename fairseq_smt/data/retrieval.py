"""The retrieval probe: one value among noise, asked for at the end. It shows how far gradients carry.

noise noise VALUE noise … noise QUERY   →   VALUE at the last position, nothing elsewhere
"""

from dataclasses import dataclass

import torch

from fairseq_smt.core.batch import Batch
from fairseq_smt.core.errors import require
from fairseq_smt.core.random import keyed_uniform


@dataclass
class Retrieval:
    """Seeded generator of retrieval sequences; sequence i is the same in every process and at every call.

    Token 0 is the query, then come `values` value tokens and `noise` noise tokens.

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

    def __post_init__(self) -> None:
        require(self.length >= 2, f"a retrieval sequence needs a length of at least 2, not {self.length}.")
        require(self.values > 0 and self.noise > 0, "a retrieval sequence needs values and noise tokens.")

    @property
    def vocabulary(self) -> int:
        """V."""
        return 1 + self.values + self.noise

    def batch(self, indices: list[int]) -> Batch:
        """Sequences `indices` as a batch in which only the last position is asked."""
        ids = torch.tensor(indices)

        def draw(stream: int, low: int, high: int, n: int) -> torch.Tensor:
            return low + (keyed_uniform(self.seed, 0, stream, ids, n) * (high - low)).long()

        inputs = draw(0, 1 + self.values, self.vocabulary, self.length)
        value = draw(1, 1, 1 + self.values, 1)
        inputs.scatter_(1, draw(2, 0, self.length - 1, 1), value)
        inputs[:, -1] = 0
        targets = torch.zeros_like(inputs)
        targets[:, -1:] = value
        asked = torch.zeros_like(inputs, dtype=torch.bool)
        asked[:, -1] = True
        return Batch(inputs, targets, torch.ones_like(asked), asked, ids)
