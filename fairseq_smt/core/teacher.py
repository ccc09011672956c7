"""The teacher's encoder E(x_≤t) → m_t.

A causal teacher is a trunk that sees every position in one pass and a memory head that turns its states into labels.
The `window` teacher (`core/window.py`) is the paper's and needs one pass per label. Every teacher has

    every_position                whether one pass labels all positions
    labels(tokens, real)          all labels, (B, T, K, d)
    at(tokens, positions, real)   the labels at some positions, (B, P, K, d)
"""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fairseq_smt.core.configs import RnnConfig, TeacherConfig
from fairseq_smt.core.errors import require, require_positive
from fairseq_smt.core.fused import RMSNorm
from fairseq_smt.core.heads import CAUSAL_HEADS
from fairseq_smt.core.layers import Block, rotary_table
from fairseq_smt.core.random import gather
from fairseq_smt.core.window import WindowTeacher


class Trunk(nn.Module):
    """Causal Transformer with rotary positions and a short convolution in every layer: (B, T) → (B, T, D)."""

    def __init__(self, vocabulary: int, sizes: TeacherConfig):
        super().__init__()
        width, layers, convolution = sizes.trunk_width, sizes.trunk_layers, sizes.trunk_convolution
        require_positive(trunk_layers=layers, trunk_width=width)
        require(convolution >= 0, f"--trunk-convolution must not be negative, got {convolution}.")
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            Block(width, sizes.trunk_heads, causal=True, convolution=convolution, what="trunk") for _ in range(layers)
        )
        self.norm = RMSNorm(width)

    def forward(self, tokens: Tensor, registers: Tensor | None = None, register_layers: int = 0) -> Tensor:
        """Hidden states (B, T, D); with registers (K, D) in the last layers (B, T, 1 + K, D), the token first."""
        x = self.embedding(tokens)
        attention = self.blocks[0].attention
        rotary = rotary_table(tokens.shape[1], x.shape[-1] // attention.heads, x)
        joined = len(self.blocks) - register_layers
        for block in self.blocks[:joined]:
            x = block(x, rotary)
        if registers is not None:
            x = torch.cat((x[:, :, None], x[:, :, None] + registers), dim=2)
            for block in self.blocks[joined:]:
                x = block.read(x, rotary)
        return self.norm(x)


HEADS = [*CAUSAL_HEADS, "window"]


class CausalTeacher(nn.Module):
    """Trunk, memory head, and a language-model head of the trunk's own that speeds the trunk up."""

    every_position = True

    def __init__(self, vocabulary: int, rnn: RnnConfig, sizes: TeacherConfig):
        super().__init__()
        self.trunk = Trunk(vocabulary, sizes)
        self.head = CAUSAL_HEADS[sizes.memory_head](rnn, sizes)
        self.language_model_head = nn.Linear(sizes.trunk_width, vocabulary)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Label every position of (B, T) tokens.

        Padding must lie on the right: it leaves the labels of the positions before it untouched.

        Returns:
            labels (B, T, K, d), where labels[:, t] depends on tokens[:, :t + 1] only, and the trunk's hidden states
            (B, T, D).
        """
        return self.head(self.trunk, tokens)

    def labels(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        """The labels alone, (B, T) → (B, T, K, d)."""
        return self(tokens)[0]

    def at(self, tokens: Tensor, positions: Tensor, real: Tensor | None = None) -> Tensor:
        """The labels at positions (B, P): (B, P, K, d)."""
        return gather(self.labels(tokens), positions)


def build_teacher(vocabulary: int, rnn: RnnConfig, sizes: TeacherConfig) -> CausalTeacher | WindowTeacher:
    """The teacher with the memory head called `sizes.memory_head`.

    Args:
        vocabulary: V.
        rnn: says K and d of the labels.
        sizes: of the teacher.

    Raises:
        ConfigurationError: for an unknown head or a size that cannot work.
    """
    head = sizes.memory_head
    known = head in CAUSAL_HEADS or head == "window"
    require(known, f"--memory-head {head} is unknown; choose one of {', '.join(HEADS)}.")
    require_positive(memory_tokens=rnn.memory_tokens, memory_width=rnn.memory_width)
    return (WindowTeacher if head == "window" else CausalTeacher)(vocabulary, rnn, sizes)


def fingerprint(teacher: nn.Module | Mapping[str, Tensor]) -> int:
    """63 bits that tell teachers, or their state_dicts, apart, whatever precision they are held in; never 0."""
    digest = hashlib.sha256()
    state = teacher.state_dict() if isinstance(teacher, nn.Module) else teacher
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return int.from_bytes(digest.digest()[:8], "big") >> 1 | 1
