"""fairseq's generator for prompts of unequal length."""

import math

import torch
from fairseq.sequence_generator import SequenceGenerator


class PromptGenerator(SequenceGenerator):
    """A prompt is continued in a batch as it would be alone, and never by `<unk>` or `<s>`.

    fairseq lifts --min-len and its list of suppressed symbols as long as any prompt of the batch lasts, for all rows.
    A negative --unkpen, which asks for `<unk>`, allows it.
    """

    def __init__(self, models, tgt_dict, **kwargs):
        super().__init__(models, tgt_dict, **kwargs)
        suppressed = [tgt_dict.bos()] + ([self.unk] if self.unk_penalty >= 0 else [])
        listed = self.token_indices_to_suppress
        self.token_indices_to_suppress = torch.tensor(suppressed + ([] if listed is None else listed.tolist()))

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
