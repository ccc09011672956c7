"""Criterion `smt`: Supervised Memory Training of teacher and RNN, all steps in parallel."""

import argparse
import math
from dataclasses import dataclass, field, fields
from functools import partial

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.logging import metrics
from omegaconf import II

from fairseq_smt.core.objectives import DETACH, SupervisedMemoryTraining
from fairseq_smt.core.schedules import Ramp, WaitingRamp, updates_or_half
from fairseq_smt.errors import ConfigurationError, require

BITS = 1 / math.log(2)
"""Factor from nats to bits; every *_nll is logged in bits, like fairseq's own losses."""


@dataclass
class SmtCriterionConfig(FairseqDataclass):
    """Coefficients, draws and ramp of the objective; the defaults are the recipe for text."""

    future_weight: float = field(default=0.5, metadata={"help": "coefficient of the future predictor's loss"})
    readout_weight: float = field(default=0.5, metadata={"help": "coefficient of the readout's loss on labels"})
    trunk_weight: float = field(default=1.0, metadata={"help": "coefficient of the trunk's own next-token loss"})
    dynamics_weight: float = field(
        default=0.1, metadata={"help": "coefficient of the parallel transition loss MSE(f(m_t, x_t+1), m_t+1)"}
    )
    pursuit_weight: float = field(
        default=0.0,
        metadata={
            "help": "coefficient of the asymmetric transition loss: detached label, mean plus worst 1/32 of positions"
        },
    )
    uniformity_weight: float = field(default=0.001, metadata={"help": "coefficient of the uniformity loss"})
    future_positions: int = field(default=4, metadata={"help": "positions per block whose future is predicted"})
    readout_positions: int = field(default=16, metadata={"help": "positions per block at which the readout is trained"})
    dynamics_positions: int = field(default=32, metadata={"help": "transitions per block; 0: every one"})
    label_pairs: int = field(
        default=4, metadata={"help": "transitions per block that are labelled with --memory-head window"}
    )
    uniformity_tokens: int = field(default=512, metadata={"help": "memory tokens in the uniformity loss"})
    dynamics_detach: ChoiceEnum(list(DETACH)) = field(
        default="none", metadata={"help": "side of the symmetric transition loss that gets no gradient"}
    )
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
    diagnostics_interval: int = field(
        default=10, metadata={"help": "updates between measurements of effective rank and shuffled memories"}
    )
    tokens_per_sample: int = II("task.tokens_per_sample")
    max_update: int = II("optimization.max_update")
    seed: int = II("common.seed")


@register_criterion("smt", dataclass=SmtCriterionConfig)
class SmtCriterion(FairseqCriterion):
    """The loss is a mean per token: `sample_size` counts tokens, so `--update-freq` and several processes agree.

    Raises:
        ConfigurationError: when the model has no teacher, or when a loss is not finite.
    """

    def __init__(self, cfg: SmtCriterionConfig, task):
        super().__init__(task)
        names = {f.name for f in fields(SupervisedMemoryTraining)}
        shared = {name: getattr(cfg, name) for name in names if hasattr(cfg, name)}
        self.objective = SupervisedMemoryTraining(
            **shared, detach=str(cfg.dynamics_detach), horizon=cfg.tokens_per_sample
        )
        ramp = Ramp(updates_or_half(cfg.dynamics_ramp_updates, cfg.max_update))
        self.ramp = WaitingRamp(ramp, cfg.dynamics_wait_below, cfg.dynamics_wait_patience)
        self.trained = None
        self.tokens_per_sample = cfg.tokens_per_sample

    @classmethod
    def add_args(cls, parser):
        """Add the flags without their defaults, so that an architecture may bring its own (`models/presets.py`)."""
        group = parser.add_argument_group("criterion smt", argument_default=argparse.SUPPRESS)
        gen_parser_from_dataclass(group, SmtCriterionConfig(), delete_default=True)

    @classmethod
    def build_criterion(cls, cfg, task):
        return cls(cfg, task)

    def forward(self, model, sample, reduce=True):
        self._check(model)
        training = model.training
        update = model.num_updates if training else 0
        state = tuple(model.schedule.tolist()) if training and self.ramp.waits else WaitingRamp.INITIAL
        ramp = self.ramp.factor(update, state) if training else 1.0
        batch = self.task.batch_of(sample)
        objective = partial(self.objective, batch=batch, update=update, ramp=ramp, training=training)
        terms = model(**sample["net_input"], objective=objective)
        self._check_finite(model, terms)

        tokens = int(sample["ntokens"])
        log = {
            "loss": terms.loss.detach() * tokens,
            "ntokens": tokens,
            "nsentences": int(sample["target"].size(0)),
            "sample_size": tokens,
        }
        if training:
            self.trained = (model.schedule, update)
            log |= {"dynamics_ramp_sum": ramp * tokens, "dynamics_ramp_count": tokens}
        for name, (total, count) in terms.measures.items():
            log[f"{name}_sum"], log[f"{name}_count"] = total.float(), count.float()
        if not training and self.task.byte_lengths is not None:
            log["scored_bytes"] = (self.task.bytes_of(batch.targets) * batch.scored).sum().float()
        return terms.loss * tokens, tokens, log

    def observe(self, logging_outputs) -> None:
        """Tell the waiting ramp an update's `future_nll`, reduced over micro-batches and processes.

        Its state is a buffer of the model, saved with it: fairseq saves a task's state but does not restore it.
        """
        if not self.ramp.waits or self.trained is None:
            return
        count = float(sum(log["future_nll_count"] for log in logging_outputs))
        if count:
            bits = float(sum(log["future_nll_sum"] for log in logging_outputs)) / count * BITS
            schedule, update = self.trained
            schedule.copy_(schedule.new_tensor(self.ramp.observe(tuple(schedule.tolist()), update + 1, bits)))

    def _check(self, model) -> None:
        require(
            model.teacher is not None,
            "--criterion smt trains a teacher: remove --memory-head none, or use --criterion cross_entropy (BPTT).",
        )
        futures = model.future.futures
        require(
            futures <= self.tokens_per_sample,
            f"--futures {futures} is longer than a block: --tokens-per-sample is {self.tokens_per_sample}.",
        )

    @staticmethod
    def _check_finite(model, terms) -> None:
        """Stop on a loss that is not finite; in fp16 fairseq's loss scaler skips such updates by itself."""
        fp16 = torch.is_autocast_enabled() or any(p.dtype == torch.float16 for p in model.parameters())
        if fp16 or torch.isfinite(terms.loss):
            return
        broken = [name for name, (total, _) in terms.measures.items() if not torch.isfinite(total)]
        raise ConfigurationError(
            f"the loss is not finite ({', '.join(broken) or 'sum of the terms'}): lower --lr, raise warm-up or set "
            "--clip-norm, and restart from the last checkpoint."
        )

    @staticmethod
    def reduce_metrics(logging_outputs) -> None:
        """Log every measure: losses as nll in bits, bits per byte and perplexity, errors over label variance."""

        def total(key: str) -> float:
            return float(sum(log.get(key, 0) for log in logging_outputs))

        size = total("sample_size")
        metrics.log_scalar("loss", total("loss") / size * BITS, size, round=3)
        names = [key[: -len("_sum")] for key in logging_outputs[0] if key.endswith("_sum")]
        means = {name: total(f"{name}_sum") / total(f"{name}_count") for name in names if total(f"{name}_count")}
        variance = max(means.get("label_variance", 0.0), 1e-12)
        for name, mean in means.items():
            weight = total(f"{name}_count")
            if name.endswith("_nll"):
                metrics.log_scalar(name, mean * BITS, weight, round=3)
            elif name == "dynamics":
                metrics.log_scalar(name, mean, weight, round=5)
                metrics.log_scalar("one_step_error", mean / variance, weight, round=4)
            elif name.startswith("drift_"):
                metrics.log_scalar(name, mean / variance, weight, round=4)
            else:
                metrics.log_scalar(name, mean, weight, round=4)
        scored_bytes = total("scored_bytes")  # counted in validation, where both are scored on the same targets
        for name in ("ceiling", "rnn"):
            if f"{name}_nll" in means:
                metrics.log_derived(f"{name}_ppl", partial(_perplexity, name=f"{name}_nll"))
                if scored_bytes:
                    metrics.log_scalar(
                        f"{name}_bpb", total(f"{name}_nll_sum") * BITS / scored_bytes, scored_bytes, round=3
                    )

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def _perplexity(meters, name: str) -> float:
    return round(2 ** min(meters[name].avg, 64.0), 2)
