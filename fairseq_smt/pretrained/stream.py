"""A model that reads and writes one endless text, in constant memory and constant time per symbol."""

import math

import torch
from torch import Tensor

from fairseq_smt.core.language_model import check_sampling, choose
from fairseq_smt.pretrained.model import Pretrained

READ_AT_ONCE, LOGITS_AT_ONCE = 256, 1 << 20
"""Symbols, and logits of all of them, that exist at a time."""


class Stream:
    """The RNN somewhere in a text. It is fastest inside `torch.inference_mode`.

    Args:
        model: what reads and writes.
        memory: m_t to go on from, (1, K, d); None for the beginning of a text.
        temperature, top_k, top_p: as in `RecurrentLanguageModel.generate`.
        generator: source of randomness; torch's own unless given.

    Attributes:
        memory: m_t, (1, K, d), which is all that is kept of the text.

    Raises:
        ConfigurationError: for an argument out of range.
    """

    def __init__(
        self,
        model: Pretrained,
        memory: Tensor | None = None,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        check_sampling(temperature, top_k, top_p)
        self.rnn, self.generator = model.rnn, generator
        self.sampling = (temperature, top_k, top_p, generator)
        self.silent = torch.zeros(self.rnn.vocabulary).masked_fill(torch.tensor(model.text.silent), -torch.inf)
        self.at_once = max(1, min(READ_AT_ONCE, LOGITS_AT_ONCE // self.rnn.vocabulary))
        if memory is None:
            self.logits, self.memory = self.rnn.step(torch.tensor([model.start]))
        else:
            self.logits, self.memory = self.rnn.readout(memory), memory

    def read(self, ids: list[int]) -> float:
        """Read symbols; return what they cost, in bits."""
        bits = 0.0
        for first in range(0, len(ids), self.at_once):
            tokens = torch.tensor(ids[first : first + self.at_once])
            memories = self.rnn.unroll(tokens[None], self.memory)
            self.memory, after = memories[:, -1].clone(), self.rnn.readout(memories[0])
            before = torch.cat((self.logits, after[:-1]))
            self.logits = after[-1:].clone()
            bits -= float(before.float().log_softmax(-1).gather(1, tokens[:, None]).double().sum())
        return bits / math.log(2)

    def next(self) -> int:
        """Write a symbol, one that stands for some text, and read it."""
        token = choose(self.logits + self.silent, *self.sampling)
        self.logits, self.memory = self.rnn.step(token, self.memory)
        return int(token)
