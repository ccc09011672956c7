"""What changes along a block: the RNN's drift and the loss. None of it has a gradient."""

import torch
from torch import Tensor

from fairseq_smt.core import losses


def horizons(length: int) -> list[int]:
    """1, 4, 16, 64, … up to `length`: the numbers of steps at which drift is reported."""
    result, h = [], 1
    while h <= length:
        result.append(h)
        h *= 4
    return result


@torch.no_grad()
def drift_by_horizon(memories: Tensor, labels: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """δ_h = MSE(m̂_{h-1}, m_{h-1}) of an RNN that has run h steps from m_∅, for h = 1..T.

    Args:
        memories: m̂_t, the RNN's own, (B, T, K, d).
        labels: m_t, (B, T, K, d).
        real: positions that are not padding, (B, T).

    Returns:
        the sum of the errors over the batch, and their number: (T,) each. Divide by the label variance.
    """
    return (losses.squared_error(memories, labels) * real).sum(0), real.sum(0)


@torch.no_grad()
def loss_by_position(logits: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy at each position, summed over the batch.

    Args:
        logits: (B, T, V).
        targets: (B, T), any value where `mask` is False.
        mask: targets that count, (B, T).

    Returns:
        the sum in nats and the number of targets: (T,) each.
    """
    return losses.negative_log_likelihood(logits, targets, mask).sum(0), mask.sum(0)
