"""Criterion `dmt`: DAgger Memory Training, the RNN on its own memories pulled back onto a frozen teacher's."""

import logging
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from fairseq_smt.core.objectives import CHUNK_LENGTHS, ROLLOUTS, DaggerMemoryTraining
from fairseq_smt.core.schedules import AdaptiveChunk
from fairseq_smt.criterions.objective import ObjectiveCriterion, options_of, pair
from fairseq_smt.errors import require

logger = logging.getLogger(__name__)


@dataclass
class DmtCriterionConfig(FairseqDataclass):
    """Coefficients and rollout of the objective; the defaults are the recipe for text."""

    drift_weight: float = field(
        default=1.0, metadata={"help": "coefficient of the drift, the MSE of the RNN's memories against the labels"}
    )
    readout_weight: float = field(
        default=1.0, metadata={"help": "coefficient of the readout's loss on the RNN's memories"}
    )
    rollout: ChoiceEnum(list(ROLLOUTS)) = field(
        default="chunked",
        metadata={
            "help": "how the RNN runs on its own memories: in chunks from the labels, over the whole block, in chunks "
            "from its own memories of earlier passes, or by sweeps over all positions"
        },
    )
    chunk: int = field(default=16, metadata={"help": "positions per chunk; sweeps with --rollout jacobi"})
    chunk_lengths: ChoiceEnum(list(CHUNK_LENGTHS)) = field(
        default="fixed",
        metadata={
            "help": "--chunk for every update, drawn from 1 to the length of a block, or grown from --chunk while the "
            "RNN stays near the labels"
        },
    )
    warm_passes: int = field(default=1, metadata={"help": "passes without gradient of --rollout warm"})
    drift_backprop: int = field(
        default=16, metadata={"help": "positions through which the drift's gradient goes; 1: one call of the cell"}
    )
    ce_backprop: int = field(
        default=16,
        metadata={"help": "positions through which the readout's gradient goes; 0: it trains the readout alone"},
    )
    tokens_per_sample: int = II("task.tokens_per_sample")
    seed: int = II("common.seed")


FLAGS = pair(
    DmtCriterionConfig, DaggerMemoryTraining, renamed={"warm_passes": "passes", "tokens_per_sample": "horizon"}
)


@register_criterion("dmt", dataclass=DmtCriterionConfig)
class DmtCriterion(ObjectiveCriterion):
    """Trains the RNN, or its readout alone, from a checkpoint of criterion `smt` (`--finetune-from-model`)."""

    def __init__(self, cfg: DmtCriterionConfig, task):
        super().__init__(task)
        self.objective = DaggerMemoryTraining(**options_of(cfg, FLAGS))
        self._warn_of_unused(cfg)
        self.adaptive = None
        if str(cfg.chunk_lengths) == "adaptive":
            self.adaptive = task.schedules["chunk"] = AdaptiveChunk(cfg.chunk, cfg.tokens_per_sample)

    @staticmethod
    def _warn_of_unused(cfg: DmtCriterionConfig) -> None:
        rollout, unused = str(cfg.rollout), []
        if rollout == "sequential":
            unused += ["chunk", "chunk_lengths"]
        if rollout != "warm":
            unused += ["warm_passes"]
        for name in unused:
            if getattr(cfg, name) != getattr(DmtCriterionConfig, name):
                flag = f"--{name.replace('_', '-')}"
                logger.warning(f"{flag} {getattr(cfg, name)} does nothing with --rollout {rollout}")

    def check(self, model) -> None:
        if self.task.label_cache is not None:
            return
        require(
            model.teacher is not None,
            "--criterion dmt needs a teacher's labels: remove --memory-head none and start from a checkpoint of "
            "criterion smt by --finetune-from-model, or give --label-cache.",
        )
        require(
            not any(p.requires_grad for p in model.teacher.parameters()),
            "--criterion dmt trains the RNN on a frozen teacher: add --train rnn.",
        )
        require(
            model.has_trained_teacher,
            "--criterion dmt needs a trained teacher: start from a checkpoint of criterion smt by "
            "--finetune-from-model.",
        )

    def options(self, update: int) -> dict[str, Any]:
        return {"chunk": self.adaptive.chunk} if self.adaptive else {}

    def advance(self, updates: int, means: dict[str, float]) -> None:
        if self.adaptive:
            self.adaptive.observe(means["rollout_drift"] / max(means["label_variance"], 1e-12))
