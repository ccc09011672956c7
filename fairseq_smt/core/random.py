"""Draws that depend on (seed, update, sample id) only: the same however a batch is split over processes.

A counter-based generator: the splitmix64 mixing function applied to the key. It has no state to save or to synchronise,
runs vectorised on any device, and gives the same numbers on all of them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x


_GOLDEN, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """splitmix64 (Steele, Lea and Flood 2014) on int64 tensors, whose products wrap around."""
    x = x + _GOLDEN
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def keyed_uniform(seed: int, update: int | Tensor, stream: int, ids: Tensor, n: int) -> Tensor:
    """Uniform numbers in [0, 1), one row of `n` per sample id.

    Args:
        seed, update: of the run; a tensor (B,) holds an update per row.
        stream: tells apart independent uses within one update.
        ids: sample ids, (B,), int64.

    Returns:
        (B, n) float32 on the device of `ids`.
    """
    key = torch.tensor(seed, dtype=torch.int64)
    for part in (update, stream):
        key = _mix(key) ^ part
    rows = _mix(_mix(key) ^ ids)
    bits = _mix(rows[:, None] ^ torch.arange(n, device=ids.device))
    return _shift(bits, 40).to(torch.float32) / (1 << 24)


@dataclass
class Draws:
    """Random numbers of one update: keyed by seed, update and sample ids, and by the purpose that asks for them."""

    seed: int
    update: int
    ids: Tensor

    PURPOSES = ("future", "future target", "readout", "dynamics", "uniformity", "chunk")
    """A purpose's place keys its numbers: append to the end only, or runs that exist draw others when they go on."""

    def __call__(self, purpose: str, n: int) -> Tensor:
        """n uniform numbers in [0, 1) per sample: (B, n)."""
        return keyed_uniform(self.seed, self.update, self.PURPOSES.index(purpose), self.ids, n)

    def shared(self, purpose: str, n: int) -> list[float]:
        """n uniform numbers in [0, 1) that all samples of the update share, in every process."""
        ids = torch.zeros(1, dtype=torch.int64)
        return keyed_uniform(self.seed, self.update, self.PURPOSES.index(purpose), ids, n)[0].tolist()


def row_hash(tokens: Tensor) -> Tensor:
    """A number in [0, 1) for each row of int64 tokens (B, T), the same wherever the row stands: (B,) float32."""
    words = _mix(_mix(torch.arange(tokens.shape[1], device=tokens.device)) ^ tokens)
    return _shift(_mix(words.sum(1)), 40).to(torch.float32) / (1 << 24)


def draw_positions(mask: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw positions where `mask` holds, stratified: the i-th of n falls into the i-th n-th of the eligible ones.

    Args:
        mask: eligible positions, (B, T), bool.
        uniform: numbers in [0, 1), (B, n).

    Returns:
        positions (B, n), ascending, and valid (B, n), which is False in rows without an eligible position.
    """
    count = mask.sum(1, keepdim=True)
    n = uniform.shape[1]
    strata = (torch.arange(n, device=mask.device) + uniform.double()) / n
    rank = (strata * count).long().clamp(max=(count - 1).clamp(min=0))
    eligible_first = torch.argsort(~mask, dim=1, stable=True)
    return eligible_first.gather(1, rank), (count > 0).expand_as(rank)


def gather(x: Tensor, positions: Tensor) -> Tensor:
    """Entries of x (B, T, ...) at positions (B, ...): the shape of `positions` followed by x's trailing axes."""
    batch = torch.arange(x.shape[0], device=x.device).view(-1, *[1] * (positions.dim() - 1))
    return x[batch, positions]


def gather_all(x: Tensor, *positions: Tensor) -> list[Tensor]:
    """`gather` at several sets of positions, (B, n) each, at once: one gather, and one scatter for all their gradients.

    The gradients of an entry are added in the order of the arguments, by one thread: to the same bits in every run.
    """
    rows = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1] + torch.cat(positions, dim=1)
    taken = F.embedding(rows, x.flatten(0, 1).flatten(1)).unflatten(2, x.shape[2:])
    return list(taken.split([p.shape[1] for p in positions], dim=1))
