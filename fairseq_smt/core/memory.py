"""The memory: K tokens of width d, each with root mean square 1, and the learned memory before any input."""

import torch
from torch import Tensor, nn

from fairseq_smt.core.fused import rms_norm


def normalize_memory(memory: Tensor) -> Tensor:
    """RMS-normalise every memory token: (..., K, d) → (..., K, d)."""
    return rms_norm(memory)


class InitialMemory(nn.Module):
    """m_∅, the memory before any input, as a parameter."""

    def __init__(self, memory_tokens: int, memory_width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(memory_tokens, memory_width))

    def forward(self, batch: int) -> Tensor:
        """The normalised m_∅ for `batch` sequences: (B, K, d)."""
        return normalize_memory(self.weight).expand(batch, -1, -1)
