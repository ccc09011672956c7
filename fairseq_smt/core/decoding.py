"""The decoding loss: a head's matrix product and the cross entropy of its logits, in pieces where these are many."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fairseq_smt.core.losses import negative_log_likelihood

LOGITS = 1 << 24
"""Logits that may exist at once: 64 MB of float32, beside their gradient."""


def decode(
    head: nn.Linear, features: Tensor, targets: Tensor, mask: Tensor, predict: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """-log p(target) in nats, in float32, with the logits of `head` at hand or, beyond `LOGITS`, never all at once.

    Args:
        head: D → V.
        features: (..., D).
        targets: (...), any value where `mask` is False.
        mask: targets that count, (...), bool.
        predict: also return the likeliest symbols.

    Returns:
        the sum over what counts; without gradient, -log p of each, (...), zero where `mask` is False; and the likeliest
        symbols (...), or None.
    """
    if mask.numel() * head.out_features <= LOGITS:
        return decode_at_once(head, features, targets, mask, predict)
    inputs = features.flatten(0, -2), head.weight, head.bias
    device = features.device.type
    if torch.is_autocast_enabled(device):  # out here, so that the casts have a graph
        inputs = (x.to(torch.get_autocast_dtype(device)) for x in inputs)
    rows = max(1, LOGITS // head.out_features)
    safe = targets.masked_fill(~mask, 0)
    total, nll, predicted = _DecodeInPieces.apply(*inputs, safe.flatten(), mask.flatten(), rows, predict)
    return total, nll.view_as(mask), predicted.view_as(mask) if predict else None


def decode_at_once(
    head: nn.Linear, features: Tensor, targets: Tensor, mask: Tensor, predict: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`decode` with all logits: the specification, and the faster where they are few."""
    logits = head(features)
    nll = negative_log_likelihood(logits, targets, mask)
    return nll.sum(), nll.detach(), logits.argmax(-1) if predict else None


class _DecodeInPieces(torch.autograd.Function):
    """Each piece's gradient is made right after its logits, while these exist; the sum's own gradient scales it."""

    @staticmethod
    def forward(ctx, features, weight, bias, targets, mask, rows, predict):
        nll = torch.empty(len(features), dtype=torch.float32, device=features.device)
        predicted = torch.empty_like(targets) if predict else None
        wanted = ctx.needs_input_grad[:3]
        to_features = torch.empty_like(features) if wanted[0] else None
        to_weight, to_bias = (
            torch.zeros_like(x, dtype=torch.float32) if asked else None
            for x, asked in zip((weight, bias), wanted[1:], strict=True)
        )
        for start in range(0, len(features), rows):
            piece = slice(start, start + rows)
            logits = F.linear(features[piece], weight, bias)
            if predict:
                predicted[piece] = logits.argmax(-1)
            gradient = logits.log_softmax(-1, dtype=torch.float32)
            del logits
            target = targets[piece, None]
            nll[piece] = -gradient.gather(1, target)[:, 0] * mask[piece]
            if not any(wanted):
                continue
            gradient = gradient.exp_().scatter_add_(1, target, gradient.new_full(target.shape, -1.0))
            gradient = gradient.mul_(mask[piece, None]).to(features.dtype)
            if wanted[0]:
                to_features[piece] = gradient @ weight
            if wanted[1]:
                to_weight += gradient.T @ features[piece]
            if wanted[2]:
                to_bias += gradient.sum(0, dtype=torch.float32)
        ctx.save_for_backward(to_features, to_weight, to_bias)
        ctx.dtypes = [x.dtype for x in (features, weight, bias)]
        ctx.mark_non_differentiable(nll, *([predicted] if predict else []))
        return nll.sum(), nll, predicted

    @staticmethod
    @once_differentiable
    def backward(ctx, scale, *_):
        sums = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return *((None if x is None else (x * scale).to(dtype)) for x, dtype in sums), None, None, None, None
