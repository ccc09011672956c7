"""The parity probe: whether the bits so far have an odd sum. It shows whether a state is tracked, with one bit of it.

1 0 1 1 …   →   1 1 0 1 …, asked everywhere
"""

from dataclasses import dataclass

import torch

from fairseq_smt.data.probes.probe import Draw, Probe, Sequences


@dataclass
class Parity(Probe):
    """Tokens 0 and 1 are the bits, and the answers. A shorter draw is a prefix."""

    name = "parity"

    @property
    def symbols(self) -> list[str]:
        return ["0", "1"]

    @property
    def chance(self) -> float:
        return 1 / 2

    @property
    def instances(self) -> int:
        return 2**self.length

    def generate(self, draw: Draw, length: int) -> Sequences:
        bits = draw.integers(0, 0, 2, length)
        return Sequences(bits, bits.cumsum(1) % 2, torch.ones_like(bits, dtype=torch.bool))
