"""Criterion `smt`: Supervised Memory Training of teacher and RNN, all steps in parallel."""

import argparse
from dataclasses import dataclass, field

from fairseq.criterions import register_criterion
from fairseq.dataclass.utils import gen_parser_from_dataclass
from omegaconf import II

from fairseq_smt.core.configs import from_flags
from fairseq_smt.core.objectives import DETACH, SupervisedMemoryTraining
from fairseq_smt.core.schedules import Ramp, Span, WaitingRamp
from fairseq_smt.criterions.objective import BITS, ObjectiveCriterion
from fairseq_smt.errors import require
from fairseq_smt.flags import flags_of


@dataclass
class SmtCriterionConfig(flags_of(SupervisedMemoryTraining, choices={"dynamics_detach": DETACH})):
    """Coefficients and draws of the objective, and the ramp."""

    dynamics_ramp_updates: int = field(
        default=-1,
        metadata={
            "help": "updates over which the transition losses grow from 0 to their coefficients; "
            "-1: half of --max-update, or 2000 without one"
        },
    )
    dynamics_wait_below: float = field(
        default=0.0,
        metadata={
            "help": "hold the ramp of the transition losses at 0 until future_nll, in bits, has fallen below this; "
            "0: do not wait"
        },
    )
    dynamics_wait_patience: int = field(
        default=10, metadata={"help": "updates in a row below --dynamics-wait-below that start the ramp"}
    )
    tokens_per_sample: int = II("task.tokens_per_sample")
    max_update: int = II("optimization.max_update")
    seed: int = II("common.seed")


@register_criterion("smt", dataclass=SmtCriterionConfig)
class SmtCriterion(ObjectiveCriterion):
    """Trains whatever of teacher, future predictor and RNN is not frozen."""

    def __init__(self, cfg: SmtCriterionConfig, task):
        super().__init__(task)
        self.objective = from_flags(SupervisedMemoryTraining, cfg)
        span = Span(cfg.dynamics_ramp_updates, cfg.max_update, "--dynamics-ramp-updates")
        self.ramp = WaitingRamp(Ramp(span), cfg.dynamics_wait_below, cfg.dynamics_wait_patience)
        task.schedules |= {"dynamics_ramp_updates": span, "dynamics_wait": self.ramp}
        self.tokens_per_sample = cfg.tokens_per_sample

    @classmethod
    def add_args(cls, parser):
        """Add the flags without their defaults, so that an architecture may bring its own (`models/presets.py`)."""
        group = parser.add_argument_group("criterion smt", argument_default=argparse.SUPPRESS)
        gen_parser_from_dataclass(group, SmtCriterionConfig(), delete_default=True)

    def check(self, model) -> None:
        if self.task.label_cache is not None:
            require(
                not self.ramp.waits,
                "--dynamics-wait-below waits for future_nll, which is not measured with --label-cache: remove it.",
            )
            return
        require(
            model.teacher is not None,
            "--criterion smt trains a teacher: remove --memory-head none, or use --criterion cross_entropy (BPTT).",
        )
        futures = model.future.futures
        require(
            futures <= self.tokens_per_sample,
            f"--futures {futures} is longer than a block: --tokens-per-sample is {self.tokens_per_sample}.",
        )

    def options(self, update: int) -> dict[str, float]:
        return {"ramp": self.ramp.factor(update)}

    def advance(self, updates: int, means: dict[str, float]) -> None:
        if "future_nll" in means:
            self.ramp.observe(updates, means["future_nll"] * BITS)
