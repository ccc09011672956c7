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
    return F.embedding(tokens, token_in(embedding.weight))


def normalize_into(out: Tensor, scale: Tensor, memory: Tensor) -> None:
    """Write `normalize_memory(memory)`, (N, K, d), into `out`, and the factor of each memory token into `scale`."""
    torch.linalg.vector_norm(memory, dim=-1, keepdim=True, out=scale)
    scale.square_().div_(memory.shape[-1]).add_(torch.finfo(memory.dtype).eps).rsqrt_()
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
