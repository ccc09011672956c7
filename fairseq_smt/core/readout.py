"""The readout g(m_t) → logits of y_t."""

from torch import Tensor, nn

from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import require
from fairseq_smt.core.fused import gelu


class Readout(nn.Module):
    """Logits from a memory: linear over the flattened memory, or with one hidden layer."""

    def __init__(self, vocabulary: int, sizes: RnnConfig):
        super().__init__()
        hidden = sizes.readout_hidden
        require(hidden >= 0, f"--readout-hidden must not be negative, got {hidden}.")
        size = sizes.memory_tokens * sizes.memory_width
        self.hidden = nn.Linear(size, hidden) if hidden else None
        self.out = nn.Linear(hidden or size, vocabulary)

    def features(self, memory: Tensor) -> Tensor:
        """What `out` turns into logits: (..., K, d) → (..., D)."""
        x = memory.flatten(-2)
        return x if self.hidden is None else gelu(self.hidden(x))

    def forward(self, memory: Tensor) -> Tensor:
        """(..., K, d) → (..., V)."""
        return self.out(self.features(memory))
