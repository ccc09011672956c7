"""The transformer cell."""

import torch
from torch import Tensor, nn

from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.layers import Block
from fairseq_smt.core.memory import normalize_memory


class TransformerCell(nn.Module):
    """Self-attention over the K memory tokens and the input token; the memory tokens of the output are m'."""

    def __init__(self, vocabulary: int, sizes: RnnConfig):
        super().__init__()
        width = sizes.memory_width
        self.embedding = nn.Embedding(vocabulary, width)
        self.slots = nn.Parameter(torch.randn(sizes.memory_tokens, width) * 0.1)
        self.blocks = nn.ModuleList(
            Block(width, sizes.cell_heads, causal=False, what="cell") for _ in range(sizes.cell_layers)
        )

    def inputs(self, tokens: Tensor) -> Tensor:
        """(...) token ids → (..., d)."""
        return self.embedding(tokens)

    def forward(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, d) → (N, K, d)."""
        x = torch.cat((memory + self.slots, inputs[:, None]), dim=1)
        for block in self.blocks:
            x = block(x)
        return normalize_memory(x[:, : memory.shape[1]])
