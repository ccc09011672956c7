"""What cells do by hand in full precision: the token's part from a table, and the RMS normalisation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
"""Whether torch.export runs, whose programs must not ask how large a batch is; torch 2.6 has the second name alone."""


def in_full_precision(x: Tensor) -> bool:
    """Whether x is float32 or float64 and stays so: no autocast."""
    return x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled(x.device.type)


def token_part(embedding: nn.Embedding, token_in: nn.Linear, tokens: Tensor) -> Tensor:
    """token_in(embedding(tokens)), (...) → (..., D); for more tokens than the vocabulary has, V rows are enough.

    Half precision would add up the gradient of a row in half precision.
    """
    if exporting() or tokens.numel() <= embedding.num_embeddings or not in_full_precision(embedding.weight):
        return token_in(embedding(tokens))
    return look_up(token_in(embedding.weight), tokens)


def look_up(table: Tensor, tokens: Tensor) -> Tensor:
    """Rows of a table (V, D) for tokens (B, ..., T): (B, ..., T, D).

    They lie in memory in the opposite order of axes, so that a step of `run` finds its inputs side by side.
    """
    axes = tuple(reversed(range(tokens.dim())))
    return F.embedding(tokens.permute(axes), table).permute(*axes, -1)


def tanh_into(out: Tensor) -> None:
    """tanh in place; on a CPU as 2 σ(2x) - 1, as torch takes three times as long for the one as for the other."""
    if out.device.type == "cpu":
        out.mul_(2).sigmoid_().mul_(2).sub_(1)
    else:
        out.tanh_()


def normalize_into(out: Tensor, scale: Tensor, memory: Tensor, eps: Tensor) -> None:
    """Write `normalize_memory(memory)`, (N, K, d), into `out`, and the factor of each memory token into `scale`.

    Args:
        eps: the smallest step from 1 in their dtype, ().
    """
    torch.linalg.vector_norm(memory, dim=-1, keepdim=True, out=scale)
    torch.addcmul(eps, scale, scale, value=1 / memory.shape[-1], out=scale).rsqrt_()
    torch.mul(memory, scale, out=out)


def normalize_backward(gradient: Tensor, out: Tensor, scale: Tensor) -> Tensor:
    """The gradient of the memory from that of `out`, all (N, K, d)."""
    along = torch.linalg.vecdot(gradient, out).div_(out.shape[-1])[..., None]
    return torch.addcmul(gradient, along, out, value=-1).mul_(scale)


def weight_gradient(gradient: Tensor, first: Tensor, others: Tensor) -> Tensor:
    """Σ_t g_tᵀ a_t of gradients (T, N, D) and of what they met: (N, A) at t = 0, then (T - 1, N, A) → (D, A)."""
    total = gradient[0].T @ first
    if len(others):
        total.addmm_(gradient[1:].flatten(0, 1).T, others.flatten(0, 1))
    return total
