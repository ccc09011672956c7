"""The teacher's encoder E(x_≤t) → m_t: a causal trunk that labels every position in one pass, and its memory head."""

from torch import Tensor, nn

from fairseq_smt.core.errors import require, require_positive
from fairseq_smt.core.layers import Block, rotary_table
from fairseq_smt.core.memory import normalize_memory


class Trunk(nn.Module):
    """Causal Transformer with rotary positions and a short convolution in every layer: (B, T) → (B, T, D)."""

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, convolution: int = 4):
        super().__init__()
        require_positive(trunk_layers=layers, trunk_width=width)
        require(convolution >= 0, f"--trunk-convolution must not be negative, got {convolution}.")
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, causal=True, convolution=convolution, what="trunk") for _ in range(layers)
        )
        self.norm = nn.RMSNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        attention = self.blocks[0].attention
        rotary = rotary_table(tokens.shape[1], x.shape[-1] // attention.heads, x)
        for block in self.blocks:
            x = block(x, rotary)
        return self.norm(x)


class ProjectionHead(nn.Module):
    """m_t = RMS(W h_t), a matrix of K·d rows: (B, T, D) → (B, T, K, d)."""

    def __init__(self, trunk_width: int, memory_tokens: int, memory_width: int):
        super().__init__()
        self.shape = (memory_tokens, memory_width)
        self.projection = nn.Linear(trunk_width, memory_tokens * memory_width)

    def forward(self, hidden: Tensor) -> Tensor:
        return normalize_memory(self.projection(hidden).unflatten(-1, self.shape))


HEADS = {"projection": ProjectionHead}


class Teacher(nn.Module):
    """Trunk, memory head, and a language-model head of the trunk's own that speeds the trunk up.

    Args:
        vocabulary: V.
        memory_tokens, memory_width: K and d of the labels.
        head: name of the memory head.
        width, layers, heads, convolution: the trunk's sizes.

    Raises:
        ConfigurationError: for an unknown head or a size that cannot work.
    """

    def __init__(
        self,
        vocabulary: int,
        memory_tokens: int,
        memory_width: int,
        *,
        head: str = "projection",
        width: int,
        layers: int,
        heads: int,
        convolution: int = 4,
    ):
        super().__init__()
        require(head in HEADS, f"--memory-head {head} is unknown; choose one of {', '.join(HEADS)}.")
        self.trunk = Trunk(vocabulary, width, layers, heads, convolution)
        self.head = HEADS[head](width, memory_tokens, memory_width)
        self.language_model_head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Label every position of (B, T) tokens.

        Padding must lie on the right: it leaves the labels of the positions before it untouched.

        Returns:
            labels (B, T, K, d), where labels[:, t] depends on tokens[:, :t + 1] only, and the trunk's hidden states
            (B, T, D).
        """
        hidden = self.trunk(tokens)
        return self.head(hidden), hidden

    def labels(self, tokens: Tensor) -> Tensor:
        """The labels alone, (B, T) → (B, T, K, d)."""
        return self(tokens)[0]
