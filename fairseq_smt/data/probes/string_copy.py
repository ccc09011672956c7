"""The copy probe: a string to be said again, forwards or backwards. It shows how much a memory holds.

s₁ s₂ … s_n = ? ? … ?   →   s₁ s₂ … s_n at the queries, nothing elsewhere
"""

from dataclasses import dataclass

import torch

from fairseq_smt.data.probes.probe import Draw, Sequences, ValueProbe, difficulty


@dataclass
class StringCopy(ValueProbe):
    """Token 0 is the query, 1 the mark between string and queries, which an even length has twice; then the values.

    The string has (T - 1) // 2 symbols; that of a shorter draw is a prefix of it.
    """

    reverse: bool = difficulty(False, "ask for the string backwards")

    name = "copy"
    shortest = 3

    @property
    def symbols(self) -> list[str]:
        return ["?", "=", *(f"v{i}" for i in range(self.values))]

    @property
    def instances(self) -> int:
        return self.values ** ((self.length - 1) // 2)

    def generate(self, draw: Draw, length: int) -> Sequences:
        n = (length - 1) // 2
        string = draw.integers(0, 2, self.vocabulary, n)
        inputs = string.new_zeros(len(string), length)
        inputs[:, :n] = string
        inputs[:, n : length - n] = 1
        targets = torch.zeros_like(inputs)
        targets[:, length - n :] = string.flip(1) if self.reverse else string
        asked = (torch.arange(length, device=inputs.device) >= length - n).repeat(len(inputs), 1)
        return Sequences(inputs, targets, asked)
