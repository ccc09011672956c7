"""The keys-values probe: pairs, then every key once more, in any order. It shows associative recall.

k4 v1 k7 v3 k2 v1 = k7 k2 k4   →   v3 v1 v1 at the queries, nothing elsewhere
"""

from dataclasses import dataclass

import torch

from fairseq_smt.core.errors import require
from fairseq_smt.data.probes.probe import Draw, Sequences, ValueProbe, difficulty


@dataclass
class KeysValues(ValueProbe):
    """Token 0 is the mark before the queries, repeated to fill the length; then come the keys and the values.

    There are (T - 1) // 3 pairs of different keys; a shorter draw has the first of them.
    """

    keys: int = difficulty(16, "keys to choose from; all pairs of a sequence have different ones")

    name = "keys_values"
    shortest = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.keys >= self.pairs(self.length),
            f"--probe-keys {self.keys} is too few: --tokens-per-sample {self.length} has room for "
            f"{self.pairs(self.length)} pairs, raise --probe-keys or lower --tokens-per-sample.",
        )

    @staticmethod
    def pairs(length: int) -> int:
        """Pairs in a sequence of `length` positions."""
        return (length - 1) // 3

    @property
    def symbols(self) -> list[str]:
        return ["=", *(f"k{i}" for i in range(self.keys)), *(f"v{i}" for i in range(self.values))]

    @property
    def instances(self) -> int:
        count = 1
        for i in range(self.pairs(self.length)):
            count *= (self.keys - i) * self.values * (i + 1)
        return count

    def generate(self, draw: Draw, length: int) -> Sequences:
        n = self.pairs(length)
        keys = 1 + draw.permutations(0, self.keys)[:, :n]
        values = draw.integers(1, 1 + self.keys, self.vocabulary, n)
        order = draw.permutations(2, n)
        inputs = keys.new_zeros(len(keys), length)
        inputs[:, 0 : 2 * n : 2] = keys
        inputs[:, 1 : 2 * n : 2] = values
        inputs[:, length - n :] = keys.gather(1, order)
        targets = torch.zeros_like(inputs)
        targets[:, length - n :] = values.gather(1, order)
        asked = (torch.arange(length, device=inputs.device) >= length - n).repeat(len(inputs), 1)
        return Sequences(inputs, targets, asked)
