"""fairseq's generator for prompts of unequal length."""

import math

import torch
from fairseq.sequence_generator import SequenceGenerator

from fairseq_smt.errors import require
from fairseq_smt.tasks.one_beam import OneBeam, serves


class PromptGenerator(SequenceGenerator):
    """A prompt is continued in a batch as it would be alone, and never by `<unk>` or `<s>`.

    --max-len-a multiplies the length of the prompt alone; fairseq takes the longest source of a batch, bos included.

    fairseq lifts --min-len and its list of suppressed symbols as long as any prompt of the batch lasts, for all rows.
    A negative --unkpen, which asks for `<unk>`, allows it.
    """

    def __init__(self, models, tgt_dict, **kwargs):
        super().__init__(models, tgt_dict, **kwargs)
        suppressed = [tgt_dict.bos()] + ([self.unk] if self.unk_penalty >= 0 else [])
        listed = self.token_indices_to_suppress
        self.token_indices_to_suppress = torch.tensor(suppressed + ([] if listed is None else listed.tolist()))

    def room(self, length: int) -> int:
        """Most symbols of a hypothesis whose prompt has `length`, prompt included and eos not."""
        return min(int(self.max_len_a * length + self.max_len_b), self.max_len - 1)

    def _generate(self, sample, prefix_tokens=None, constraints=None, bos_token=None):
        """Hypotheses per row; with --max-len-a the rows are grouped by the length of their prompts."""
        if self.max_len_a == 0 or prefix_tokens is None:
            return self._generate_together(sample, prefix_tokens, constraints, bos_token)
        hypotheses = [None] * len(prefix_tokens)
        lengths, shortest = prefix_tokens.ne(self.pad).sum(1), self.min_len
        for length in lengths.unique().tolist():
            rows = lengths.eq(length).nonzero().flatten()
            prompts = prefix_tokens[rows, :length]
            part = {"net_input": {"src_tokens": prompts, "src_lengths": lengths[rows]}}
            self.min_len = min(shortest, self.room(length))
            try:
                found = self._generate_together(part, prompts, constraints, bos_token)
            finally:
                self.min_len = shortest
            for row, hypothesis in zip(rows.tolist(), found, strict=True):
                hypotheses[row] = hypothesis
        return hypotheses

    def _generate_together(self, sample, prefix_tokens, constraints, bos_token):
        """Hypotheses of rows that have one longest length: by `OneBeam` where it can, or by fairseq's loop."""
        if prefix_tokens is None or constraints is not None or not serves(self):
            try:
                return super()._generate(sample, prefix_tokens, constraints, bos_token)
            except AssertionError as error:
                require(
                    prefix_tokens is None or not prefix_tokens.eq(self.eos).any(),
                    "a prompt has an eos, which ends it, and cannot be continued by several beams: give --beam 1, or a "
                    "smaller --prefix-size.",
                )
                raise error
        longest = self.room(sample["net_input"]["src_tokens"].shape[1])
        return OneBeam(self)(prefix_tokens, self.eos if bos_token is None else bos_token, longest)

    def _prefix_tokens(self, step, lprobs, scores, tokens, prefix_tokens, beam_size):
        """Force the prompts' tokens at `step`; rows whose prompt is over get the rules of free generation."""
        lprobs, tokens, scores = super()._prefix_tokens(step, lprobs, scores, tokens, prefix_tokens, beam_size)
        free = prefix_tokens[:, step].eq(self.pad).repeat_interleave(beam_size)
        rows = lprobs[free]
        rows[:, self.token_indices_to_suppress] = -math.inf
        if step < self.min_len:
            rows[:, self.eos] = -math.inf
        lprobs[free] = rows
        return lprobs, tokens, scores
