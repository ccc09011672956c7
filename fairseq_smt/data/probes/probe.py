"""What a probe is: a seeded generator of sequences, each of which belongs to one split only.

A hash of its inputs decides which split a sequence belongs to, whatever its id, the seed or the run. The sequence of an
id is the first of its draws that belongs to the split of the id.
"""

from abc import ABC, abstractmethod
from dataclasses import Field, dataclass, field, fields
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from fairseq_smt.core.errors import ConfigurationError, require, require_positive
from fairseq_smt.core.interface import Batch
from fairseq_smt.core.random import keyed_uniform, row_hash

SPLITS = ("train", "valid", "test")
FIRST_IDS = {split: i << 40 for i, split in enumerate(SPLITS)}
"""Ids of a split count from here."""

HELD_OUT = 8
"""One sequence in so many belongs to split `valid`, another to `test`, the rest to `train`."""


def difficulty(default: int | bool, what: str) -> int | bool:
    """A field of a probe that task `smt_probe` makes a flag of: `depth` becomes --probe-depth, `what` its help."""
    return field(default=default, metadata={"help": what})


class Sequences(NamedTuple):
    """Generated tokens, from 0; all three are (B, T)."""

    inputs: Tensor
    targets: Tensor
    """Any token where nothing is asked."""

    asked: Tensor


@dataclass
class Draw:
    """Random numbers for B sequences: they depend on seed, id and attempt alone.

    Attributes:
        ids: (B,).
        attempt: which draw of its id a sequence is; a tensor (B,) says it for each.
    """

    seed: int
    ids: Tensor
    attempt: int | Tensor = 0

    def uniform(self, stream: int, n: int) -> Tensor:
        """Numbers in [0, 1), (B, n); a longer row begins with the shorter one. `stream` tells uses apart."""
        return keyed_uniform(self.seed, self.attempt, stream, self.ids, n)

    def integers(self, stream: int, low: int, high: int, n: int) -> Tensor:
        """Integers from low to high - 1, (B, n)."""
        return low + (self.uniform(stream, n) * (high - low)).long()

    def permutations(self, stream: int, n: int) -> Tensor:
        """Permutations of 0..n - 1, (B, n)."""
        return self.uniform(stream, n).argsort(1)


@dataclass
class Probe(ABC):
    """A seeded generator: sequence i is the same in every process and at every call, whatever is generated with it.

    A shorter sequence is a whole one, which asks for something too. Only those of the full length are divided into
    splits: validation sees no others.

    Attributes:
        length: T.
        seed: of the sequences.

    Raises:
        ConfigurationError: for sizes that make no sequence.
    """

    length: int
    seed: int = 1

    name: ClassVar[str]
    """Of --probe."""

    shortest: ClassVar[int] = 1
    """The least length at which something is asked."""

    def __post_init__(self) -> None:
        require(
            self.length >= self.shortest,
            f"--tokens-per-sample must be at least {self.shortest} for --probe {self.name}, not {self.length}.",
        )
        require_positive(**{f"probe_{name}": getattr(self, name) for name in self.sizes()})

    @property
    @abstractmethod
    def symbols(self) -> list[str]:
        """Names of the tokens, in their order."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """Accuracy of guessing among the possible answers."""

    @property
    @abstractmethod
    def instances(self) -> int:
        """How many sequences of the full length there are."""

    @abstractmethod
    def generate(self, draw: Draw, length: int) -> Sequences:
        """One sequence of `length` positions per row of `draw`."""

    @property
    def vocabulary(self) -> int:
        """V."""
        return len(self.symbols)

    @classmethod
    def difficulties(cls) -> dict[str, Field]:
        """The probe's own fields by name; task `smt_probe` makes --probe-NAME of each."""
        return {f.name: f for f in fields(cls) if "help" in f.metadata}

    @classmethod
    def sizes(cls) -> list[str]:
        """Names of those that count something."""
        return [name for name, f in cls.difficulties().items() if f.type is int]

    def check_splits(self, held_out: int) -> None:
        """Refuse a probe with too few sequences to keep `held_out` of them in each of two splits of their own."""
        needed = HELD_OUT * max(held_out, 32)
        flags = ["--tokens-per-sample", *(f"--probe-{name}" for name in self.sizes())]
        require(
            self.instances >= needed,
            f"--probe {self.name} has {self.instances} sequences of --tokens-per-sample {self.length}, and needs "
            f"{needed} to keep --probe-valid-size {held_out} of them out of training: raise {' or '.join(flags)}, or "
            "lower --probe-valid-size.",
        )

    def batch(self, indices: list[int] | Tensor, length: int | None = None) -> Batch:
        """Sequences `indices`, of `length` positions (T unless given), on the device of `indices`."""
        ids = torch.as_tensor(indices)
        found = self.generate(Draw(self.seed, ids), length or self.length)
        if length in (None, self.length):
            self._redraw(ids, found)
        return Batch(found.inputs, found.targets, torch.ones_like(found.asked), found.asked, ids)

    def _redraw(self, ids: Tensor, found: Sequences, tries: int = 16) -> None:
        """Replace, in place, the sequences that belong to another split than their ids."""
        wanted = ids // FIRST_IDS["valid"]
        for first in range(1, 1 << 12, tries):
            rows = (split_of(found.inputs) != wanted).nonzero()[:, 0]
            if not len(rows):
                return
            attempts = torch.arange(first, first + tries, device=ids.device).repeat_interleave(len(rows))
            drawn = self.generate(Draw(self.seed, ids[rows].repeat(tries), attempts), self.length)
            fits = (split_of(drawn.inputs).view(tries, -1) == wanted[rows]).int()
            chosen = fits.argmax(0) * len(rows) + torch.arange(len(rows), device=ids.device)
            for old, new in zip(found, drawn, strict=True):
                old[rows] = new[chosen]
        raise ConfigurationError(
            f"--probe {self.name} has too few sequences of --tokens-per-sample {self.length} to divide them into "
            "splits: raise its --probe-* flags."
        )


@dataclass
class ValueProbe(Probe):
    """A probe whose answers are values, each as likely as any other.

    Attributes:
        values: how many there are.
    """

    values: int = difficulty(8, "values that can be asked for; chance is one in so many")

    @property
    def chance(self) -> float:
        return 1 / self.values


def split_of(inputs: Tensor) -> Tensor:
    """Index in `SPLITS` of the split that sequences (B, T) belong to: (B,)."""
    share = row_hash(inputs) * HELD_OUT
    return (share < 1).long() + 2 * ((share >= 1) & (share < 2)).long()


def best_guess(probe: Probe, tokens: int = 1 << 19) -> float:
    """Accuracy of the best predictor without memory: it sees the current input and its position, nothing else.

    The most frequent answer of each (position, input) in half of the drawn sequences is scored on the other half.

    Args:
        tokens: to draw, in all.
    """
    half = max(tokens // probe.length, 256) // 2
    inputs, targets, asked = probe.generate(Draw(probe.seed, torch.arange(2 * half)), probe.length)
    seen = torch.arange(probe.length) * probe.vocabulary + inputs
    first = torch.arange(2 * half)[:, None] < half
    table, counts = torch.unique((seen * probe.vocabulary + targets)[asked & first], return_counts=True)
    votes = torch.zeros(probe.length * probe.vocabulary, dtype=torch.int64)
    ranked = counts * probe.vocabulary + table % probe.vocabulary
    votes.scatter_reduce_(0, table // probe.vocabulary, ranked, "amax")
    right = votes[seen] % probe.vocabulary == targets
    scored = asked & ~first
    return float(right[scored].float().mean())
