"""The retrieval probe: one value among noise, asked for at the end. It shows how far gradients carry.

noise noise VALUE noise … noise ?   →   VALUE at the last position, nothing elsewhere
"""

from dataclasses import dataclass

import torch

from fairseq_smt.data.probes.probe import Draw, Sequences, ValueProbe, difficulty


@dataclass
class Retrieval(ValueProbe):
    """Token 0 is the query, then come the values and the noise.

    A shorter draw has the same value and a prefix of the same noise, and the query at its own end.
    """

    noise: int = difficulty(8, "noise symbols")

    name = "retrieval"
    shortest = 2

    @property
    def symbols(self) -> list[str]:
        return ["?", *(f"v{i}" for i in range(self.values)), *(f"n{i}" for i in range(self.noise))]

    @property
    def instances(self) -> int:
        return self.values * (self.length - 1) * self.noise ** (self.length - 2)

    def generate(self, draw: Draw, length: int) -> Sequences:
        inputs = draw.integers(0, 1 + self.values, self.vocabulary, length)
        value = draw.integers(1, 1, 1 + self.values, 1)
        inputs.scatter_(1, draw.integers(2, 0, length - 1, 1), value)
        inputs[:, -1] = 0
        asked = torch.zeros_like(inputs, dtype=torch.bool)
        asked[:, -1] = True
        return Sequences(inputs, value.expand_as(inputs).contiguous(), asked)
