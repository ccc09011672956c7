"""Criterion `chunked_bptt`: truncated backpropagation through time with all chunks of a block side by side."""

from dataclasses import dataclass

from fairseq.criterions import register_criterion
from omegaconf import II

from fairseq_smt.core.configs import from_flags
from fairseq_smt.core.objectives import ChunkedBackpropagation
from fairseq_smt.criterions.objective import ObjectiveCriterion
from fairseq_smt.errors import require
from fairseq_smt.flags import flags_of


@dataclass
class ChunkedBpttCriterionConfig(flags_of(ChunkedBackpropagation)):
    """Chunks of the objective."""

    tokens_per_sample: int = II("task.tokens_per_sample")
    seed: int = II("common.seed")


@register_criterion("chunked_bptt", dataclass=ChunkedBpttCriterionConfig)
class ChunkedBpttCriterion(ObjectiveCriterion):
    """Trains the RNN alone; with --chunk as long as --tokens-per-sample, as fairseq's `cross_entropy` does (BPTT)."""

    reads_labels = False

    def __init__(self, cfg: ChunkedBpttCriterionConfig, task):
        super().__init__(task)
        self.objective = from_flags(ChunkedBackpropagation, cfg)

    def check(self, model) -> None:
        require(
            model.teacher is None or not any(p.requires_grad for p in model.teacher.parameters()),
            "--criterion chunked_bptt trains the RNN alone: add --memory-head none, or --train rnn to keep a teacher.",
        )
