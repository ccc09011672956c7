"""Cells: the RNN's update f(m_t, x_{t+1}) → m_{t+1}.

A cell splits its work in two. `inputs(tokens)` computes everything about a token that does not depend on the memory,
once for a whole block; `forward(memory, inputs)` is one step for any number of rows. Every cell returns an
RMS-normalised memory and keeps a residual path from the memory it was given. It takes what it uses of the sizes.
"""

import torch
from torch import Tensor, nn

from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import require, require_positive
from fairseq_smt.core.layers import Block, gelu
from fairseq_smt.core.memory import normalize_memory


class MLPCell(nn.Module):
    """One hidden layer over the flattened memory and the token: m' = RMS(m + W_o gelu(W_m m + W_x x))."""

    def __init__(self, vocabulary: int, sizes: RnnConfig):
        super().__init__()
        size, hidden = sizes.memory_tokens * sizes.memory_width, sizes.cell_hidden
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.memory_in = nn.Linear(size, hidden)
        self.memory_out = nn.Linear(hidden, size)
        nn.init.normal_(self.embedding.weight, std=0.5)

    def inputs(self, tokens: Tensor) -> Tensor:
        """(...) token ids → (..., hidden); W_x is the embedding table itself."""
        return self.embedding(tokens)

    def forward(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, hidden) → (N, K, d)."""
        update = self.memory_out(gelu(self.memory_in(memory.flatten(1)) + inputs))
        return normalize_memory(memory + update.view_as(memory))


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


class GRUCell(nn.Module):
    """A gated recurrent unit over the flattened memory, RMS-normalised: m' = RMS((1 - z) n + z m).

    The gates are those of Cho et al. (2014) in torch's form, n = tanh(W_n x + r (U_n m)). Without the normalisation the
    memory shrinks into the middle of tanh's range and the labels follow it (the paper's collapse).
    """

    def __init__(self, vocabulary: int, sizes: RnnConfig):
        super().__init__()
        size, hidden = sizes.memory_tokens * sizes.memory_width, sizes.cell_hidden
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.token_in = nn.Linear(hidden, 3 * size)
        self.memory_in = nn.Linear(size, 3 * size)

    def inputs(self, tokens: Tensor) -> Tensor:
        """(...) token ids → (..., 3·K·d), the token's part of the reset, update and new gates."""
        return self.token_in(self.embedding(tokens))

    def forward(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, 3·K·d) → (N, K, d)."""
        before = memory.flatten(1)
        token_gates, token_new = inputs.tensor_split((2 * before.shape[1],), dim=-1)
        memory_gates, memory_new = self.memory_in(before).tensor_split((2 * before.shape[1],), dim=-1)
        reset, update = (token_gates + memory_gates).sigmoid().chunk(2, dim=-1)
        new = (token_new + reset * memory_new).tanh()
        return normalize_memory((new + update * (before - new)).view_as(memory))


CELLS = {"mlp": MLPCell, "transformer": TransformerCell, "gru": GRUCell}


def build_cell(vocabulary: int, sizes: RnnConfig) -> nn.Module:
    """The cell called `sizes.cell`.

    Raises:
        ConfigurationError: for an unknown name or a size that cannot work.
    """
    require(sizes.cell in CELLS, f"--cell {sizes.cell} is unknown; choose one of {', '.join(CELLS)}.")
    positive = ("memory_tokens", "memory_width", "cell_hidden", "cell_layers")
    require_positive(**{name: getattr(sizes, name) for name in positive})
    return CELLS[sizes.cell](vocabulary, sizes)
