"""Memories in few dimensions."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class PrincipalAxes:
    """The directions of the largest variance of a set of memories.

    Attributes:
        mean: (K·d,).
        axes: orthonormal rows, the largest variance first, (n, K·d); the largest coordinate of each is positive.
        explained: share of the set's variance along each axis, (n,); zeros for a set without variance.
    """

    mean: Tensor
    axes: Tensor
    explained: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, memories: Tensor, n: int = 2) -> "PrincipalAxes":
        """Fit to memories (N, K, d), N ≥ 1; axes that the set does not span are zero."""
        rows = memories.flatten(1).double()
        mean = rows.mean(0)
        _, size, axes = torch.linalg.svd(rows - mean, full_matrices=False)
        axes, variance = axes[:n], size.square()
        signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
        missing = n - len(axes)
        axes = torch.nn.functional.pad(axes * signs, (0, 0, 0, missing))
        total = variance.sum()
        explained = variance[:n] / total if total > 0 else variance[:n] * 0
        return cls(mean, axes, torch.nn.functional.pad(explained, (0, missing)))

    @torch.no_grad()
    def project(self, memories: Tensor) -> Tensor:
        """Coordinates of memories (..., K, d): (..., n)."""
        return (memories.flatten(-2).double() - self.mean) @ self.axes.T

    @torch.no_grad()
    def explained_of(self, memories: Tensor) -> Tensor:
        """Share of the variance of other memories (N, K, d) that lies along each axis: (n,)."""
        rows = memories.flatten(1).double()
        total = (rows - rows.mean(0)).square().sum()
        along = self.project(memories)
        along = (along - along.mean(0)).square().sum(0)
        return along / total if total > 0 else along * 0
