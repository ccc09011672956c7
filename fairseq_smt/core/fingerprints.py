"""Fingerprints of 63 bits as tensors of a checkpoint, which an average of checkpoints keeps.

fairseq's average_checkpoints.py adds up what is not a floating-point number and divides by the number of checkpoints,
rounding down. Parts of 16 bits do not overflow; equal ones stay what they are. The mean of squares is the square of the
mean of equal numbers alone: their sum, the last entry, shows where different fingerprints were averaged.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

PARTS, BITS = 4, 16

UNKNOWN = 1
"""Stands for a fingerprint that there is, and that is not known."""


def of_symbols(symbols: Sequence[str]) -> int:
    """The fingerprint of a dictionary, by its symbols and their order."""
    digest = hashlib.sha256("\n".join(symbols).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def pack(fingerprint: int) -> Tensor:
    """A fingerprint as int64, (5,)."""
    parts = [fingerprint >> BITS * i & (1 << BITS) - 1 for i in range(PARTS)]
    return torch.tensor([*parts, sum(x * x for x in parts)])


def unpack(packed: Tensor) -> int:
    """The fingerprint; 0 for none, `UNKNOWN` for an average of different ones."""
    return UNKNOWN if mixed(packed) else sum(x << BITS * i for i, x in enumerate(packed.tolist()[:PARTS]))


def mixed(packed: Tensor) -> bool:
    """Whether it is an average of different ones."""
    *parts, squares = packed.tolist()
    return squares != sum(x * x for x in parts)


def mark(packed: Tensor) -> None:
    """Turn none into `UNKNOWN`, in place and without a read from the device; odd fingerprints stay."""
    packed[::PARTS].clamp_(min=1)
