"""The arithmetic probe: examples of a hidden linear function modulo a prime. It shows learning in context.

x₁ y₁ x₂ y₂ x₃ y₃ x₄ …   with y = (a·x + b) mod p   →   y₃ at x₃, y₄ at x₄, …, nothing elsewhere
"""

from dataclasses import dataclass

import torch

from fairseq_smt.core.errors import require
from fairseq_smt.data.probes.probe import Draw, Probe, Sequences, difficulty


@dataclass
class Arithmetic(Probe):
    """Tokens 0..p - 1 are the x, the next p the y.

    a and b are drawn anew for every sequence. x₁ and x₂ differ, so that two examples determine the function; from x₃ on
    every y is asked, and then shown. A shorter draw is a prefix.
    """

    modulus: int = difficulty(5, "the prime p of the modular arithmetic; chance is one in p")

    name = "arithmetic"
    shortest = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.modulus > 1 and all(self.modulus % d for d in range(2, int(self.modulus**0.5) + 1)),
            f"--probe-modulus must be a prime, so that two examples determine the function, not {self.modulus}.",
        )

    @property
    def symbols(self) -> list[str]:
        return [f"{name}{i}" for name in "xy" for i in range(self.modulus)]

    @property
    def chance(self) -> float:
        return 1 / self.modulus

    @property
    def instances(self) -> int:
        examples = (self.length + 1) // 2
        return (self.modulus - 1) * self.modulus ** (examples + 1)

    def generate(self, draw: Draw, length: int) -> Sequences:
        a, b = draw.integers(0, 0, self.modulus, 2).split(1, dim=1)
        x = draw.integers(1, 0, self.modulus, (length + 1) // 2)
        step = draw.integers(2, 1, self.modulus, 1)
        x[:, 1:2] = (x[:, :1] + step) % self.modulus
        y = (a * x + b) % self.modulus + self.modulus
        inputs = torch.stack((x, y), dim=2).flatten(1)[:, :length].contiguous()
        targets = y.repeat_interleave(2, dim=1)[:, :length].contiguous()
        time = torch.arange(length, device=x.device)
        return Sequences(inputs, targets, ((time >= 4) & (time % 2 == 0)).repeat(len(x), 1))
