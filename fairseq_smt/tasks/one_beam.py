"""Generation by one beam: what fairseq's loop gives, without its bookkeeping of beams."""

import math

import torch
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor

from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.tasks.sampling import Choice

PIECE = 256
"""Positions of the prompts whose logits are in memory at once."""


def serves(generator: SequenceGenerator) -> bool:
    """Whether `OneBeam` can stand in for the generator's own loop."""
    decoder = getattr(generator.model.single_model, "decoder", None)
    return (
        generator.beam_size == 1
        and generator.model.models_size == 1
        and getattr(decoder, "stepped", None) is not None
        and type(generator.search) in Choice.SEARCHES
        and generator.lm_model is None
        and generator.repeat_ngram_blocker is None
        and not generator.match_source_len
    )


class OneBeam:
    """The loop of `SequenceGenerator._generate` for one beam, one RNN and no rule on the symbols before.

    The rows step together, and a row that ends leaves the batch at once, so that all random numbers are fairseq's. The
    part of the prompts that all rows have is read at once.

    Args:
        generator: fairseq's generator with all settings.
    """

    def __init__(self, generator: SequenceGenerator):
        self.generator, self.choose = generator, Choice(generator.search)
        self.rnn: RecurrentLanguageModel = generator.model.single_model.decoder.stepped
        device = next(self.rnn.parameters()).device
        self.given = torch.zeros(generator.vocab_size, device=device)
        self.given[generator.unk] -= generator.unk_penalty
        self.given[generator.pad] = -math.inf
        self.free = self.given.clone()
        self.free[generator.token_indices_to_suppress] = -math.inf
        self.early = self.free.clone()
        self.early[generator.eos] = -math.inf
        self.last = torch.full_like(self.given, -math.inf)
        self.last[generator.eos] = 0

    def __call__(self, prompts: Tensor, first: int, longest: int) -> list[list[dict[str, Tensor]]]:
        """One hypothesis per row of `prompts` (B, P), of at most `longest` symbols and eos, after symbol `first`."""
        tokens = prompts.new_full((len(prompts), longest + 2), self.generator.pad)
        tokens[:, 0] = first
        scores = torch.zeros(tokens.shape[0], longest + 1, device=tokens.device)
        with torch.inference_mode():
            ends = self._fill(tokens, scores, prompts[:, :longest])
        return [[self._hypothesis(tokens[i, 1 : end + 2], scores[i, : end + 1])] for i, end in enumerate(ends)]

    def _fill(self, tokens: Tensor, scores: Tensor, prompts: Tensor) -> list[int]:
        """Write symbols and their log-probabilities; the position of each row's eos."""
        generator, longest, width = self.generator, scores.shape[1] - 1, prompts.shape[1]
        start, memory = self._read(tokens, scores, prompts)
        alive, ends = list(range(len(tokens))), [longest] * len(tokens)
        token, rows = tokens[:, start], slice(None)
        read = self.rnn.reader((longest + 1 - start) * len(tokens))
        for step in range(start, longest + 1):
            logits, memory = self.rnn.step(token, memory, read(token))
            lprobs = self._log_probabilities(logits)
            if step < width:
                lprobs += self.given
                lprobs, _, _ = generator._prefix_tokens(step, lprobs, scores[rows], tokens[rows], prompts[rows], 1)
            else:
                lprobs += self.last if step == longest else self.early if step < generator.min_len else self.free
            token, score = self.choose(lprobs)
            tokens[rows, step + 1], scores[rows, step] = token, score
            found = token.tolist() if step < width or step >= generator.min_len else ()
            if generator.eos in found:
                going = []
                for i, (row, symbol) in enumerate(zip(alive, found, strict=True)):
                    if symbol == generator.eos:
                        ends[row] = step
                    else:
                        going.append(i)
                if not going:
                    break
                alive = [alive[i] for i in going]
                rows, going = (torch.tensor(x, device=tokens.device) for x in (alive, going))
                token, memory = token[going], memory[going]
        return ends

    def _read(self, tokens: Tensor, scores: Tensor, prompts: Tensor) -> tuple[int, Tensor | None]:
        """Read the positions at which every row has a prompt, and none an eos: how many, and the memory before them.

        The symbol at the last of them is for the first step to read.
        """
        over = (prompts.eq(self.generator.pad) | prompts.eq(self.generator.eos)).any(0).nonzero()
        length, memory = int(over[0]) if len(over) else prompts.shape[1], None
        tokens[:, 1 : length + 1] = prompts[:, :length]
        for begin in range(0, length, PIECE):
            end = min(begin + PIECE, length)
            logits, memory = self.rnn(tokens[:, begin:end], memory)
            lprobs = self._log_probabilities(logits).add_(self.given)
            scores[:, begin:end] = lprobs.gather(2, prompts[:, begin:end, None])[..., 0]
            self.choose.pass_over(scores[:, begin:end], lprobs.shape[-1])
        return length, memory

    def _log_probabilities(self, logits: Tensor) -> Tensor:
        if self.generator.temperature != 1:
            logits = logits / self.generator.temperature
        return logits.log_softmax(-1, dtype=torch.float32)

    def _hypothesis(self, tokens: Tensor, scores: Tensor) -> dict[str, Tensor]:
        """As in `SequenceGenerator.finalize_hypos`."""
        score = scores.sum()
        if self.generator.normalize_scores:
            score = score / len(scores) ** self.generator.len_penalty
        nothing = torch.empty(0)
        return {
            "tokens": tokens,
            "score": score,
            "attention": nothing,
            "alignment": nothing,
            "positional_scores": scores,
        }
