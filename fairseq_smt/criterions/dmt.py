"""Criterion `dmt`: DAgger Memory Training, the RNN on its own memories, held near a frozen teacher's."""

import logging
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion
from omegaconf import II

from fairseq_smt.core.configs import from_flags
from fairseq_smt.core.objectives import CHUNK_LENGTHS, ROLLOUTS, DaggerMemoryTraining
from fairseq_smt.core.schedules import AdaptiveChunk
from fairseq_smt.criterions.objective import ObjectiveCriterion
from fairseq_smt.errors import require
from fairseq_smt.flags import flags_of

logger = logging.getLogger(__name__)


CHOICES = {"rollout": ROLLOUTS, "chunk_lengths": CHUNK_LENGTHS}


@dataclass
class DmtCriterionConfig(flags_of(DaggerMemoryTraining, choices=CHOICES)):
    """Coefficients and rollout of the objective."""

    tokens_per_sample: int = II("task.tokens_per_sample")
    seed: int = II("common.seed")


@register_criterion("dmt", dataclass=DmtCriterionConfig)
class DmtCriterion(ObjectiveCriterion):
    """Trains the RNN, or its readout alone, from a checkpoint of criterion `smt` (`--finetune-from-model`)."""

    def __init__(self, cfg: DmtCriterionConfig, task):
        super().__init__(task)
        self.objective = from_flags(DaggerMemoryTraining, cfg)
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
