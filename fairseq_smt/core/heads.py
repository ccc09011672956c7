"""Memory heads of a causal teacher: they turn the states of its trunk into labels, at every position in one pass."""

import torch
from torch import Tensor, nn

from fairseq_smt.core.configs import RnnConfig, TeacherConfig
from fairseq_smt.core.errors import require
from fairseq_smt.core.memory import normalize_memory
from fairseq_smt.core.scan import gated_scan


class ProjectionHead(nn.Module):
    """m_t = RMS(W h_t), a matrix of K·d rows: the cheapest head."""

    def __init__(self, rnn: RnnConfig, teacher: TeacherConfig):
        super().__init__()
        self.shape = (rnn.memory_tokens, rnn.memory_width)
        self.projection = nn.Linear(teacher.trunk_width, rnn.memory_tokens * rnn.memory_width)

    def forward(self, trunk: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) → labels (B, T, K, d), hidden states (B, T, D)."""
        hidden = trunk(tokens)
        return normalize_memory(self.projection(hidden).unflatten(-1, self.shape)), hidden


class RegistersHead(nn.Module):
    """K registers per position join the trunk's last layers and read, each by its own queries, what lies up to t.

    A register starts from its token's state plus a learned vector, goes through the trunk's own layers, and becomes a
    memory token by a projection that all registers share.
    """

    def __init__(self, rnn: RnnConfig, teacher: TeacherConfig):
        super().__init__()
        self.layers, layers = teacher.register_layers, teacher.trunk_layers
        require(
            1 <= self.layers <= layers,
            f"--register-layers {self.layers} does not fit: it must be 1 to --trunk-layers {layers}.",
        )
        self.registers = nn.Parameter(torch.randn(rnn.memory_tokens, teacher.trunk_width) * 0.1)
        self.projection = nn.Linear(teacher.trunk_width, rnn.memory_width)

    def forward(self, trunk: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) → labels (B, T, K, d), hidden states (B, T, D)."""
        states = trunk(tokens, self.registers, self.layers)
        return normalize_memory(self.projection(states[:, :, 1:])), states[:, :, 0]


class ScanHead(nn.Module):
    """m_t = RMS(s_t) with s_t = (1 - z_t) ⊙ s_{t-1} + z_t ⊙ c_t; the trunk's state gives gates z_t and contents c_t.

    A memory that is written to, not made anew at every position. What it holds stays where it is until a gate opens, so
    that a cell can follow by leaving it alone. The gates begin nearly closed.
    """

    def __init__(self, rnn: RnnConfig, teacher: TeacherConfig):
        super().__init__()
        self.shape = (rnn.memory_tokens, rnn.memory_width)
        size = rnn.memory_tokens * rnn.memory_width
        self.gate = nn.Linear(teacher.trunk_width, size)
        self.content = nn.Linear(teacher.trunk_width, size)
        self.start = nn.Parameter(torch.randn(size))
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, trunk: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) → labels (B, T, K, d), hidden states (B, T, D); the scan itself is at least in float32."""
        hidden = trunk(tokens)
        gate, content = self.gate(hidden), self.content(hidden)
        precise = torch.promote_types(gate.dtype, torch.float32)
        z = gate.to(precise).sigmoid()
        states = gated_scan(1 - z, z * content, self.start.to(precise))
        return normalize_memory(states.unflatten(-1, self.shape)).to(gate.dtype), hidden


CAUSAL_HEADS = {"projection": ProjectionHead, "registers": RegistersHead, "scan": ScanHead}
