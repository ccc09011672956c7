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
        return (weight @ (rows - mean).square_()).mean()


@torch.no_grad()
def effective_rank(rows: Tensor) -> Tensor:
    """exp of the entropy of the normalised eigenvalues of the rows' covariance.

    Args:
        rows: (N, ...), one memory a row; flattened. Zero for fewer than two rows or for equal rows, NaN where
            a row is not finite.
    """
    x = rows.flatten(1).float()
    if len(x) < 2:
        return x.new_zeros(())
    energy = x.square().sum()
    if not torch.isfinite(energy):  # left to the check of the loss
        return energy * torch.nan
    x = x - x.mean(0)
    with torch.autocast(x.device.type, enabled=False):
        gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
        eigenvalues = torch.linalg.eigvalsh(gram).clamp(min=0)
    total = eigenvalues.sum()
    if total <= 1e-10 * energy:  # what rounding leaves of equal rows
        return total * 0
    share = eigenvalues / total
    return torch.special.entr(share).sum().exp()
