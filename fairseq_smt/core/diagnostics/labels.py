"""Measures of the memory space that a falling loss does not show. None of them has a gradient."""

import torch
from torch import Tensor


@torch.no_grad()
def label_variance(labels: Tensor, mask: Tensor) -> Tensor:
    """Mean over memory coordinates of the variance over positions and sequences.

    Args:
        labels: (B, T, K, d).
        mask: real positions, (B, T).
    """
    rows = labels.flatten(2).flatten(0, 1).float()
    weight = mask.flatten() / mask.sum().clamp(min=1)
    with torch.autocast(rows.device.type, enabled=False):
        mean = weight @ rows
        distance = torch.cdist(rows, mean[None], compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
        return weight @ distance.square() / rows.shape[1]


@torch.no_grad()
def spectrum(rows: Tensor) -> Tensor:
    """Eigenvalues of the covariance of memories, the largest first; their mean is the label variance.

    Args:
        rows: (N, K, d), N ≥ 1, one memory a row.

    Returns:
        (K·d,) float64; no more than N - 1 are not zero.
    """
    x = rows.flatten(1).double()
    covariance = x.T.cov(correction=0).reshape(x.shape[1], x.shape[1])
    return torch.linalg.eigvalsh(covariance).clamp(min=0).flip(0)


@torch.no_grad()
def effective_rank(rows: Tensor, mask: Tensor | None = None) -> Tensor:
    """exp of the entropy of the normalised eigenvalues of the rows' covariance.

    Args:
        rows: (N, ...), one memory a row; flattened. Zero for fewer than two rows or for equal rows, NaN where
            a row is not finite.
        mask: rows that count, (N,), bool; all of them unless given.
    """
    x = rows.flatten(1).float()
    if len(x) < 2:
        return x.new_zeros(())
    if mask is None:
        mask = torch.ones_like(x[:, 0], dtype=torch.bool)
    x = x.masked_fill(~mask[:, None], 0)
    energy = x.square().sum()
    finite = torch.isfinite(energy)  # no branch: the device would be waited for
    x = torch.where(finite, x, 0)
    x = (x - x.sum(0) / mask.sum().clamp(min=1)).masked_fill(~mask[:, None], 0)
    with torch.autocast(x.device.type, enabled=False):
        gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
        eigenvalues = torch.linalg.eigvalsh(gram).clamp(min=0)
    total = eigenvalues.sum()
    rank = torch.special.entr(eigenvalues / total).sum().exp()
    rank = torch.where(total > 1e-10 * energy, rank, 0)  # not more than what rounding leaves of equal rows
    return torch.where(finite, rank, torch.nan)
