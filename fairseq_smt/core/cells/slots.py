"""Slots of associations beside a gated recurrent unit."""

import torch
from torch import Tensor, nn

from fairseq_smt.core.cells.exact import token_part
from fairseq_smt.core.cells.gru import gated
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import require
from fairseq_smt.core.memory import normalize_memory

SHARPNESS = 4.0
"""Factor on the scores of an address; its gradients find one slot for a key sooner than those of a flat one."""


class SlotsCell(nn.Module):
    """A token is written to the slot that the token before it points at, and reads the slot that it points at itself.

    The memory tokens are the key k of the last token, a register r, and K - 2 slots S. With the token's part
    W x = (k', v, …) of an input x, and the address a(k) = softmax(4 A k):

        S' = S + β a(k) (v - S)            β a gate of x and r
        r' = (1 - z) n + z r               torch's gates, of x, of r and of what is read, a(k')ᵀ S'
        m' = RMS(k', r', S')

    One address for both lets a pair (key, value) be found by its key; two of them would have to be learned alike. The
    shifted key is that of H3 (Fu et al., 2023), slots behind a gate are those of Zhang et al. (2024).

    Raises:
        ConfigurationError: for fewer than three memory tokens.
    """

    def __init__(self, vocabulary: int, sizes: RnnConfig):
        super().__init__()
        tokens, width, hidden = sizes.memory_tokens, sizes.memory_width, sizes.cell_hidden
        require(tokens > 2, f"--memory-tokens {tokens} is too few: --cell slots needs a key, a register and a slot, 3.")
        self.parts = (3 * width, width, width, 1)  # gates of the register, key, value, gate of the write
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.token_in = nn.Linear(hidden, sum(self.parts))
        self.register_in = nn.Linear(width, 3 * width + 1)
        self.read_in = nn.Linear(width, 3 * width, bias=False)
        self.address = nn.Linear(width, tokens - 2, bias=False)

    def inputs(self, tokens: Tensor) -> Tensor:
        """(...) token ids → (..., 5·d + 1)."""
        return token_part(self.embedding, self.token_in, tokens)

    def forward(self, memory: Tensor, inputs: Tensor) -> Tensor:
        """(N, K, d), (N, 5·d + 1) → (N, K, d)."""
        last, register, slots = memory[:, 0], memory[:, 1], memory[:, 2:]
        token_gates, key, value, write = inputs.split(self.parts, dim=-1)
        register_gates, register_write = self.register_in(register).split((self.parts[0], 1), dim=-1)
        key = normalize_memory(key)

        keys = torch.stack((last.to(key.dtype), key), dim=1).to(self.address.weight.dtype)
        with torch.autocast(keys.device.type, enabled=False):  # what is sharp is precise
            to, at = (SHARPNESS * self.address(keys)).softmax(dim=-1).unbind(1)  # of the last token, and of this one
        to = to * (write + register_write).sigmoid()
        slots = slots + to[..., None] * (value[:, None] - slots)
        read_gates = self.read_in((at[..., None] * slots).sum(1))
        register = gated(register, token_gates + read_gates, register_gates)
        return normalize_memory(torch.cat((key[:, None], register[:, None], slots), dim=1))
