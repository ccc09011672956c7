"""The memory: K tokens of width d, each with root mean square 1, and the learned memory before any input."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalize_memory(memory: Tensor) -> Tensor:
    """RMS-normalise every memory token: (..., K, d) → (..., K, d)."""
    return F.rms_norm(memory, memory.shape[-1:])


class InitialMemory(nn.Module):
    """m_∅, the memory before any input, as a parameter."""

    def __init__(self, memory_tokens: int, memory_width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(memory_tokens, memory_width))

    def forward(self, batch: int) -> Tensor:
        """The normalised m_∅ for `batch` sequences: (B, K, d)."""
        return normalize_memory(self.weight).expand(batch, -1, -1)
