"""The recurrent language model: m_∅, cell and readout. It needs no teacher, and no fairseq."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from fairseq_smt.core.cells import build_cell
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.core.gradient import pass_without_gradient
from fairseq_smt.core.memory import InitialMemory
from fairseq_smt.core.readout import Readout
from fairseq_smt.core.rollout import sequential


class RecurrentLanguageModel(nn.Module):
    """m_{t+1} = f(m_t, x_{t+1}), logits of y_t = g(m_t), with constant memory and time per token.

    Args:
        vocabulary: V.
        sizes: of the memory, the cell and the readout; the defaults unless given.

    Raises:
        ConfigurationError: for sizes that cannot work.
    """

    def __init__(self, vocabulary: int, sizes: RnnConfig | None = None):
        super().__init__()
        self.vocabulary, self.sizes = vocabulary, sizes or RnnConfig()
        self.cell = build_cell(vocabulary, self.sizes)
        self.initial = InitialMemory(self.sizes.memory_tokens, self.sizes.memory_width)
        self.readout = Readout(vocabulary, self.sizes)

    def unroll(self, tokens: Tensor, memory: Tensor | None = None) -> Tensor:
        """The RNN's own memories after each token: (B, T) → (B, T, K, d), from `memory` (B, K, d) or from m_∅."""
        if memory is None:
            memory = self.initial(tokens.shape[0])
        return sequential(self.cell, memory, self.cell.inputs(tokens))

    def forward(
        self, tokens: Tensor, memory: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a block.

        Args:
            tokens: (B, T).
            memory: state to continue from, (B, K, d); None for m_∅.
            lengths: real tokens of each row, (B,), where rows are padded on the right.

        Returns:
            logits (B, T, V) and the memory after each row's last real token (B, K, d).
        """
        if memory is None:
            memory = self.initial(tokens.shape[0])
        memories = torch.cat((memory[:, None], self.unroll(tokens, memory)), dim=1)
        if lengths is None:
            last = memories[:, -1]
        else:
            last = memories[torch.arange(len(lengths), device=tokens.device), lengths]
        return self.readout(memories[:, 1:]), last

    def step(self, token: Tensor, memory: Tensor | None = None, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step: token (B,), memory (B, K, d) or None for m_∅ → logits (B, V), memory (B, K, d).

        Args:
            inputs: `cell.inputs(token)` where it is at hand, as from `reader`.
        """
        if memory is None:
            memory = self.initial(token.shape[0])
        memory = self.cell(memory, self.cell.inputs(token) if inputs is None else inputs)
        return self.readout(memory), memory

    @pass_without_gradient()
    def reader(self, tokens: int) -> Callable[[Tensor], Tensor]:
        """`cell.inputs` for `tokens` tokens that come one after another: from a table if the vocabulary has no more."""
        if tokens < self.vocabulary:
            return self.cell.inputs
        table = self.cell.inputs(torch.arange(self.vocabulary, device=self.initial.weight.device))
        return lambda token: F.embedding(token, table)

    @pass_without_gradient()
    def generate(
        self,
        prompt: Tensor,
        steps: int,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        memory: Tensor | None = None,
        allowed: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Continue prompts (B, T), T ≥ 1, by `steps` tokens: (B, steps).

        Args:
            temperature: divides the logits; 0 for greedy.
            top_k: sample from the k most likely tokens only; 0 for all.
            top_p: sample from the smallest set of tokens whose probability reaches p.
            memory: state before the prompt, (B, K, d); None for m_∅.
            allowed: whether a token may be generated, (V,); None for all.
            generator: source of randomness.

        Raises:
            ConfigurationError: for an empty prompt or an argument out of range.
        """
        require(prompt.shape[1] > 0, "generate needs a prompt of at least one token: give it the bos token.")
        check_sampling(temperature, top_k, top_p)
        logits, memory = self(prompt, memory)
        logits = logits[:, -1]
        output, read = [], self.reader(steps * len(prompt))
        for _ in range(steps):
            if allowed is not None:
                logits = logits.masked_fill(~allowed, -torch.inf)
            token = choose(logits, temperature, top_k, top_p, generator)
            output.append(token)
            logits, memory = self.step(token, memory, read(token))
        return torch.stack(output, dim=1) if output else prompt[:, :0]

    def save(self, path: str | Path) -> None:
        """Write weights and sizes to one safetensors file."""
        state = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        sizes = {"vocabulary": self.vocabulary} | asdict(self.sizes)
        content = safetensors.torch.save(state, metadata={"recurrent_language_model": json.dumps(sizes)})
        Path(path).write_bytes(content)

    @classmethod
    def load(cls, path: str | Path) -> "RecurrentLanguageModel":
        """Read what `save` wrote.

        Raises:
            ConfigurationError: when the file is not such a file, or is damaged.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                sizes = json.loads((file.metadata() or {})["recurrent_language_model"])
            model = cls(sizes.pop("vocabulary"), RnnConfig(**sizes))
            model.load_state_dict(load_file(str(path)))
        except FileNotFoundError:
            raise ConfigurationError(f"{path} does not exist.") from None
        except Exception as error:
            raise ConfigurationError(
                f"{path} is not a whole file written by RecurrentLanguageModel.save ({error}); export it again."
            ) from error
        return model


def check_sampling(temperature: float, top_k: int, top_p: float) -> None:
    """Raise `ConfigurationError` for what `choose` cannot work with."""
    require(temperature >= 0, f"temperature must not be negative, got {temperature}.")
    require(0 < top_p <= 1, f"top_p must lie in (0, 1], got {top_p}.")
    require(top_k >= 0, f"top_k must not be negative, got {top_k}.")


def choose(logits: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator | None) -> Tensor:
    """Choose a token per row of logits (B, V): (B,)."""
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.float() / temperature
    if top_k:
        kth = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    probabilities = logits.softmax(-1)
    if top_p < 1:
        ordered, order = probabilities.sort(-1, descending=True)
        surplus = ordered.cumsum(-1) - ordered >= top_p
        probabilities = probabilities.masked_fill(surplus.scatter(-1, order, surplus), 0)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]
