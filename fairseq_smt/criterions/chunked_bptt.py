"""Criterion `chunked_bptt`: truncated backpropagation through time with all chunks of a block side by side."""

from dataclasses import dataclass, field

from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from fairseq_smt.core.objectives import ChunkedBackpropagation
from fairseq_smt.criterions.objective import ObjectiveCriterion, options_of, pair
from fairseq_smt.errors import require


@dataclass
class ChunkedBpttCriterionConfig(FairseqDataclass):
    """Chunks of the objective."""

    chunk: int = field(
        default=16,
        metadata={
            "help": "positions per chunk, through which the gradient goes; --tokens-per-sample or more: the whole block"
        },
    )
    warm_passes: int = field(
        default=1,
        metadata={"help": "passes without gradient that give the chunks their first memories; 0: the initial memory"},
    )
    tokens_per_sample: int = II("task.tokens_per_sample")
    seed: int = II("common.seed")


FLAGS = pair(
    ChunkedBpttCriterionConfig,
    ChunkedBackpropagation,
    renamed={"warm_passes": "passes", "tokens_per_sample": "horizon"},
)


@register_criterion("chunked_bptt", dataclass=ChunkedBpttCriterionConfig)
class ChunkedBpttCriterion(ObjectiveCriterion):
    """Trains the RNN alone; with --chunk as long as --tokens-per-sample, as fairseq's `cross_entropy` does (BPTT)."""

    reads_labels = False

    def __init__(self, cfg: ChunkedBpttCriterionConfig, task):
        super().__init__(task)
        self.objective = ChunkedBackpropagation(**options_of(cfg, FLAGS))

    def check(self, model) -> None:
        require(
            model.teacher is None or not any(p.requires_grad for p in model.teacher.parameters()),
            "--criterion chunked_bptt trains the RNN alone: add --memory-head none, or --train rnn to keep a teacher.",
        )
