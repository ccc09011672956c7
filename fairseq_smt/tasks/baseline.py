"""Baselines under the names of our own measures, so that their curves lie over each other."""

from typing import Any

import torch
from torch import Tensor

from fairseq_smt.core import losses
from fairseq_smt.criterions.objective import ObjectiveCriterion


class BaselineTask:
    """Mixin in front of a task: with a criterion of fairseq's, validation scores what the model's own forward says.

    `rnn_nll`, `rnn_ppl`, `rnn_bpb` and `rnn_accuracy` are measured on the targets that our criterions score. For model
    `smt_lm` they are the same numbers, the RNN unrolled from its initial memory; for others those of their forward.
    """

    def valid_step(self, sample, model, criterion, **kwargs):
        if isinstance(criterion, ObjectiveCriterion):
            return super().valid_step(sample, model, criterion, **kwargs)
        outputs: list[Any] = []
        hook = model.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        try:
            loss, sample_size, log = super().valid_step(sample, model, criterion, **kwargs)
        finally:
            hook.remove()
        return loss, sample_size, log | (self._score(sample, model, outputs[-1]) if outputs else {})

    @torch.no_grad()
    def _score(self, sample: dict[str, Any], model, output) -> dict[str, Tensor]:
        """Sums and counts, as our criterions log them."""
        batch = self.batch_of(sample)
        log_probabilities = model.get_normalized_probs(output, log_probs=True)
        nll, count = losses.cross_entropy(log_probabilities, batch.targets, batch.scored)
        right = ((log_probabilities.argmax(-1) == batch.targets) & batch.scored).sum()
        log = {"rnn_nll_sum": nll, "rnn_nll_count": count, "rnn_accuracy_sum": right, "rnn_accuracy_count": count}
        if self.byte_lengths is not None:
            log["scored_bytes"] = (self.bytes_of(batch.targets) * batch.scored).sum()
        return {name: value.float() for name, value in log.items()}

    def reduce_metrics(self, logging_outputs, criterion) -> None:
        """Log what `valid_step` measured, too."""
        super().reduce_metrics(logging_outputs, criterion)
        if not isinstance(criterion, ObjectiveCriterion) and "rnn_nll_count" in logging_outputs[0]:
            ObjectiveCriterion.log_measures(logging_outputs)
