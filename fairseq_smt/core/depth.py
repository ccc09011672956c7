"""Depth: the calls of the cell in an update that wait for each other, however many rows each of them has.

It is what no parallel hardware shortens. Calls side by side count once; a layer of the teacher is no call.
"""

from typing import NamedTuple


class Depth(NamedTuple):
    """Calls one after another in the forward passes of an update, those without gradient too, and backwards."""

    forward: int
    backward: int

    @property
    def calls(self) -> int:
        """All of them: the backward pass begins when the forward pass has ended."""
        return self.forward + self.backward


AT_ONCE = Depth(1, 1)
"""All positions side by side: SMT, and a Transformer."""


def through_time(length: int) -> Depth:
    """BPTT of an RNN over T positions."""
    return Depth(length, length)


def in_chunks(size: int, cuts: set[int], passes: int = 0) -> Depth:
    """Chunks of C positions side by side, after `passes` passes without gradient.

    A gradient that is cut every N < C positions is made in one more pass, over segments of N. Passes over segments of
    different lengths could run side by side, but do not.

    Args:
        cuts: the N of all losses; 0 for no gradient through the cell, C for no cut.
    """
    return Depth((passes + 1) * size + sum(cuts - {size}), sum(cuts))


def in_sweeps(sweeps: int, cuts: set[int]) -> Depth:
    """Sweeps over all positions at once, anew for each number N of last sweeps that a gradient goes through."""
    return Depth(sweeps * len(cuts - {0}), sum(cuts))
