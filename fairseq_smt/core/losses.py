"""The losses of the method, all in float32 whatever the model's dtype."""

import torch
import torch.nn.functional as F
from torch import Tensor


def negative_log_likelihood(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """-log p(target) in nats, zero where `mask` is False: (...).

    Args:
        logits: (..., V).
        targets: (...), any value where `mask` is False.
        mask: (...), bool.
    """
    safe = targets.masked_fill(~mask, 0)
    nll = F.cross_entropy(logits.float().flatten(0, -2), safe.flatten(), reduction="none")
    return nll.view_as(mask) * mask


def cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Decoding loss: the sum of `negative_log_likelihood` over the masked-in entries, and their number."""
    return negative_log_likelihood(logits, targets, mask).sum(), mask.sum()


def mean_of(total: Tensor, count: Tensor) -> Tensor:
    """total / count, and zero (with a gradient of zero) where nothing was counted."""
    return total / count.clamp(min=1)


def squared_error(prediction: Tensor, label: Tensor) -> Tensor:
    """Mean squared error over the memory's coordinates: (..., K, d) twice → (...)."""
    return (prediction.float() - label.float()).square().mean(dim=(-2, -1))


def dynamics(prediction: Tensor, label: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Dynamics loss MSE(f(m_t, x_{t+1}), m_{t+1}): its sum over the masked-in positions (...), and their number."""
    return (squared_error(prediction, label) * mask).sum(), mask.sum()


def pursuit(prediction: Tensor, label: Tensor, mask: Tensor, worst: float = 1 / 32) -> Tensor:
    """Asymmetric dynamics loss: the cell pursues a detached label; mean error plus the mean of the worst positions.

    The worst share keeps the rare large jump, the one that stores something, from drowning in the many small steps.

    Args:
        worst: share of the positions that the second mean covers (at least one position).
    """
    error = squared_error(prediction, label.detach()) * mask
    k = max(1, int(error.numel() * worst))
    return mean_of(error.sum(), mask.sum()) + mean_of(error.flatten().topk(k).values.sum(), mask.sum().clamp(max=k))


def uniformity(tokens: Tensor, temperature: float = 2.0, mask: Tensor | None = None) -> Tensor:
    """Uniformity loss log E_{a<b} exp(-2 ‖a - b‖²) over L2-normalised memory tokens (N, d).

    Zero when fewer than two tokens count. The lower the more uniform (Wang and Isola 2020).

    Args:
        mask: tokens that count, (N,), bool; all of them unless given.
    """
    unit = F.normalize(tokens.float(), dim=-1)
    counted = unit.new_ones(len(unit)) if mask is None else mask.float()
    with torch.autocast(unit.device.type, enabled=False):
        closer = (2 * temperature) ** 0.5 * unit  # -t ‖a - b‖² = 2t a·b - 2t, and is at least -4t: nothing underflows
        similarity = torch.exp(closer @ closer.T - 2 * temperature).tril(-1)
        total = counted @ similarity @ counted
    number = counted.sum()
    pairs = number * (number - 1) / 2
    return torch.log((total + (pairs == 0)) / pairs.clamp(min=1))
