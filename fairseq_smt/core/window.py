"""The paper's encoder: a bidirectional Transformer over one context window and K registers gives one label per pass."""

import torch
from torch import Tensor, nn

from fairseq_smt.core.configs import RnnConfig, TeacherConfig
from fairseq_smt.core.errors import require_positive
from fairseq_smt.core.fused import RMSNorm
from fairseq_smt.core.layers import Block, rotary_table
from fairseq_smt.core.memory import normalize_memory
from fairseq_smt.core.random import gather

ROWS = 1024
"""Windows encoded side by side by `labels`, which bounds its memory."""


class WindowTeacher(nn.Module):
    """m_t from the window x_{t-window+1}..x_t: registers behind the tokens, all attending to all.

    The window ends at t, and attention knows distances only (rotary positions), so that a label does not depend on
    where the block begins. What lies before the block's first token, and padding on either side, is not attended to.
    """

    every_position = False

    def __init__(self, vocabulary: int, rnn: RnnConfig, sizes: TeacherConfig):
        super().__init__()
        width, layers = sizes.trunk_width, sizes.trunk_layers
        require_positive(teacher_window=sizes.teacher_window, trunk_layers=layers, trunk_width=width)
        self.window = sizes.teacher_window
        self.embedding = nn.Embedding(vocabulary, width)
        self.registers = nn.Parameter(torch.randn(rnn.memory_tokens, width) * 0.1)
        self.blocks = nn.ModuleList(Block(width, sizes.trunk_heads, causal=False, what="trunk") for _ in range(layers))
        self.norm = RMSNorm(width)
        self.out = nn.Linear(width, rnn.memory_width)

    def at(self, tokens: Tensor, positions: Tensor, real: Tensor | None = None) -> Tensor:
        """One label per position.

        Args:
            tokens: (B, T).
            positions: t, (B, P).
            real: whether a position is not padding, (B, T); all are unless given.

        Returns:
            (B, P, K, d).
        """
        memory_tokens = len(self.registers)
        index = positions[..., None] + torch.arange(1 - min(self.window, tokens.shape[1]), 1, device=tokens.device)
        visible = index >= 0
        index = index.clamp(min=0)
        if real is not None:
            visible = visible & gather(real, index)
        x = self.embedding(gather(tokens, index)).flatten(0, 1)
        x = torch.cat((x, self.registers.expand(len(x), -1, -1)), dim=1)
        visible = nn.functional.pad(visible.flatten(0, 1), (0, memory_tokens), value=True)
        rotary = rotary_table(x.shape[1], x.shape[2] // self.blocks[0].attention.heads, x)
        for block in self.blocks:
            x = block(x, rotary, visible)
        memory = normalize_memory(self.out(self.norm(x[:, -memory_tokens:])))
        return memory.unflatten(0, positions.shape)

    def labels(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        """The labels of every position, one pass each: (B, T) → (B, T, K, d)."""
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        parts = positions.split(max(1, ROWS // max(1, len(tokens))), dim=1)
        return torch.cat([self.at(tokens, part, real) for part in parts], dim=1)
