"""Future predictors D(m_t, inputs after t) → logits of y_s for s ≥ t: what makes a memory a predictive state.

A predictor says from which positions t it can predict (`eligible`) and chooses which future targets it predicts from
them (`targets_for`). It predicts them by `forward`, or by `features` and then its head `out`. The RNN
never uses it: it exists to train the labels.
"""

import math

import torch
from torch import Tensor, nn

from fairseq_smt.core.configs import FutureConfig, RnnConfig
from fairseq_smt.core.errors import require, require_positive
from fairseq_smt.core.fused import RMSNorm, gelu
from fairseq_smt.core.layers import Block, rotary_table
from fairseq_smt.core.random import draw_positions, gather


class WindowPredictor(nn.Module):
    """Causal Transformer over [m_t; x_{t+1}, …]: y_t from the last memory token, y_{t+j} from x_{t+j} (the paper's D).

    It predicts y_t..y_{t+futures-1}, or all targets to the block's end where `futures` is 0.
    """

    def __init__(self, vocabulary: int, rnn: RnnConfig, sizes: FutureConfig):
        super().__init__()
        self.futures, width = sizes.futures, sizes.future_width
        require(self.futures >= 0, f"--futures must not be negative, got {self.futures}.")
        self.memory_in = nn.Linear(rnn.memory_width, width)
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            Block(width, sizes.future_heads, causal=True, what="future") for _ in range(sizes.future_layers)
        )
        self.norm = RMSNorm(width)
        self.out = nn.Linear(width, vocabulary)

    def eligible(self, real: Tensor, _: Tensor) -> Tensor:
        """Positions t whose window fits into the real part of the block, or 0 where none does: (B, T)."""
        length = real.sum(1, keepdim=True)
        last = (length - max(self.futures, 1)).clamp(min=0)
        time = torch.arange(real.shape[1], device=real.device)
        return real & (time <= last)

    def targets_for(self, t: Tensor, targets: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """The window's positions s = t, t + 1, …: s (B, P, S) and whether y_s is a target (B, P, S)."""
        length = targets.shape[1]
        s = t[..., None] + torch.arange(min(self.futures or length, length), device=t.device)
        inside = s < length
        s = s.clamp(max=length - 1)
        return s, inside & gather(targets, s)

    def forward(self, memory: Tensor, tokens: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Logits of y_s.

        Args:
            memory: m_t, (B, P, K, d).
            tokens: the block's inputs, (B, T).
            t: positions of the memories, (B, P).
            s: predicted positions from `targets_for`, (B, P, S).

        Returns:
            (B, P, S, V).
        """
        return self.out(self.features(memory, tokens, t, s))

    def features(self, memory: Tensor, tokens: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """What `out` turns into logits, with the arguments of `forward`: (B, P, S, D)."""
        batch, positions, futures = s.shape
        memory_tokens = memory.shape[2]
        x = self.memory_in(memory.flatten(0, 1))
        seen = gather(tokens, s[..., 1:]).flatten(0, 1)
        x = torch.cat((x, self.embedding(seen)), dim=1)
        rotary = rotary_table(x.shape[1], x.shape[2] // self.blocks[0].attention.heads, x)
        for block in self.blocks:
            x = block(x, rotary)
        return self.norm(x[:, memory_tokens - 1 :]).view(batch, positions, futures, -1)


class FarPredictor(nn.Module):
    """Gated MLP over m_t, the inputs x_{s-7}..x_s that lie after t, s and s - t, for any s ≥ t with a target.

    It costs nothing for targets hundreds of positions away, but does not see the inputs between t and s - 8. It suits
    tasks whose answer the memory and the last inputs decide. `futures` targets s are drawn per position t.
    """

    SEEN = 8
    OCTAVES = 6
    PERIODS = 7

    def __init__(self, vocabulary: int, rnn: RnnConfig, sizes: FutureConfig):
        super().__init__()
        self.futures, width = sizes.futures, sizes.future_width
        require(self.futures > 0, f"--futures must be positive with --future far, got {self.futures}.")
        self.embedding = nn.Embedding(vocabulary, width)
        memory = rnn.memory_tokens * rnn.memory_width
        features = memory + self.SEEN * width + 2 * self.OCTAVES + 4 * self.PERIODS
        self.gate = nn.Linear(features, 4 * width)
        self.value = nn.Linear(features, 4 * width)
        self.out = nn.Linear(4 * width, vocabulary)

    def eligible(self, real: Tensor, targets: Tensor) -> Tensor:
        """Positions t that have a target at or after them: (B, T)."""
        ahead = targets.flip(1).cumsum(1).flip(1) > 0
        return real & ahead

    def targets_for(self, t: Tensor, targets: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """`futures` positions s drawn from the targets at or after each t: s (B, P, S) and whether y_s is a target."""
        length = targets.shape[1]
        ahead = torch.arange(length, device=t.device) >= t[..., None]
        eligible = (ahead & targets[:, None]).flatten(0, 1)
        s, valid = draw_positions(eligible, uniform.view(eligible.shape[0], self.futures))
        return s.view(*t.shape, -1), valid.view(*t.shape, -1)

    def forward(self, memory: Tensor, tokens: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Logits of y_s, with the arguments of `WindowPredictor.forward`: (B, P, S, V)."""
        return self.out(self.features(memory, tokens, t, s))

    def features(self, memory: Tensor, tokens: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """What `out` turns into logits, with the arguments of `forward`: (B, P, S, D)."""
        batch, positions, futures = s.shape
        inputs = s[..., None] + torch.arange(1 - self.SEEN, 1, device=s.device)
        after = inputs > t[..., None, None]
        seen = self.embedding(gather(tokens, inputs.clamp(min=0)))
        seen = torch.where(after[..., None], seen, 0).flatten(-2)
        ahead = (s - t[..., None]).clamp(min=0)  # s lies before t where there was no target to draw
        distance = torch.log1p(ahead.float())[..., None] * (2.0 ** torch.arange(-4, self.OCTAVES - 4, device=s.device))
        period = 2.0 ** torch.arange(1, self.PERIODS + 1, device=s.device)
        turns = torch.cat((distance, s[..., None] / period, ahead[..., None] / period), dim=-1)
        angle = 2 * math.pi * turns
        place = torch.cat((angle.cos(), angle.sin()), dim=-1).to(seen.dtype)
        state = memory.flatten(2)[:, :, None].expand(batch, positions, futures, -1)
        features = torch.cat((state.to(seen.dtype), seen, place), dim=-1)
        return gelu(self.gate(features)) * self.value(features)


FUTURES = {"window": WindowPredictor, "far": FarPredictor}


def build_future(vocabulary: int, rnn: RnnConfig, sizes: FutureConfig) -> nn.Module:
    """The future predictor called `sizes.future`, of memories whose K and d `rnn` says.

    Raises:
        ConfigurationError: for an unknown name or a size that cannot work.
    """
    require(sizes.future in FUTURES, f"--future {sizes.future} is unknown; choose one of {', '.join(FUTURES)}.")
    require_positive(future_width=sizes.future_width, future_layers=sizes.future_layers)
    return FUTURES[sizes.future](vocabulary, rnn, sizes)
