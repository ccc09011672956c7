"""What the criterions with an objective share: one call of the model, its measures as sums and counts, metrics."""

import math
from functools import partial
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics

from fairseq_smt.compat.finite import REMEDY
from fairseq_smt.core import fingerprints
from fairseq_smt.core.depth import AT_ONCE
from fairseq_smt.data.label_cache.reader import LabelCache
from fairseq_smt.errors import ConfigurationError, require

BITS = 1 / math.log(2)
"""Factor from nats to bits; every *_nll is logged in bits, like fairseq's own losses."""


def check_labels(model, cache: LabelCache) -> None:
    """Compare a model with the label cache that it is to be trained on.

    A model that has never met a teacher is given the cache's fingerprint: its checkpoints then say whose student it is.

    Raises:
        ConfigurationError: for other sizes, another teacher, or a teacher that would be trained.
    """
    for name in ("memory_tokens", "memory_width"):
        flag, cached, own = f"--{name.replace('_', '-')}", getattr(cache, name), getattr(model.rnn.sizes, name)
        require(
            own == cached,
            f"the labels in {cache.folder} have {flag} {cached}, the model has {own}: give {flag} {cached}.",
        )
    require(
        model.teacher is None or not any(p.requires_grad for p in model.teacher.parameters()),
        "--label-cache holds the labels of a frozen teacher: add --memory-head none, or --train rnn.",
    )
    met = fingerprints.unpack(model.teacher_fingerprint)
    require(
        bool(met) or model.teacher is None,
        "with --label-cache the model needs no teacher, and has one that was never trained: add --memory-head none, or "
        "start from a checkpoint of criterion smt by --finetune-from-model.",
    )
    require(
        met in (0, cache.teacher),
        f"the labels in {cache.folder} are of another teacher ({cache.teacher:016x}) than the checkpoint's "
        f"({met:016x}): give the checkpoint they were made with, or cache this one's by fairseq-smt-cache-labels.",
    )
    model.teacher_fingerprint.copy_(fingerprints.pack(cache.teacher))


class ObjectiveCriterion(FairseqCriterion):
    """The loss is a mean per token: `sample_size` counts tokens, so `--update-freq` and several processes agree.

    A subclass sets `objective` and says which models it takes (`check`). One with a schedule adds it to the task's, and
    says what it gives the objective (`options`) and what it learns from an update (`advance`).

    Raises:
        ConfigurationError: when the model does not fit.
    """

    update = 0
    """That of the last training step."""

    depth = AT_ONCE
    """That of the last training step."""

    may_overflow = False
    """Whether the last forward pass was one in float16 or under autocast, whose losses are not judged."""

    reads_labels = True
    """Whether the objective is one for `--label-cache`."""

    checked = False

    @classmethod
    def build_criterion(cls, cfg, task):
        require(
            hasattr(task, "batch_of"),
            f"--criterion {cfg._name} does not work with {type(task).__name__}: add --task smt_lm (or smt_probe).",
        )
        return cls(cfg, task)

    def check(self, model) -> None:
        """Refuse a model that the objective cannot work on."""

    def check_fit(self, model) -> None:
        """Refuse a model that is none of ours, does not fit the label cache, or that the objective cannot work on.

        Raises:
            ConfigurationError: naming the flag to change.
        """
        require(
            hasattr(model, "rnn"),
            f"--arch must be one of smt_lm, smt_lm_small, …, the criterion cannot train a {type(model).__name__}.",
        )
        if self.task.label_cache is not None:
            check_labels(model, self.task.label_cache)
        self.check(model)
        self.checked = True

    def options(self, update: int) -> dict[str, Any]:
        """Keyword arguments of the objective in training, by the schedule."""
        return {}

    def advance(self, updates: int, means: dict[str, float]) -> None:
        """Move the schedule after `updates` updates, given the last one's measures over all processes."""

    def forward(self, model, sample, reduce=True):
        if not self.checked:
            self.check_fit(model)
        training = model.training
        update = model.num_updates if training else 0
        options = self.options(update) if training else {}
        batch = self.task.batch_of(sample)
        objective = partial(self.objective, batch=batch, update=update, training=training, **options)
        terms = model(**sample["net_input"], objective=objective)
        tokens = int(sample["ntokens"])
        log = {
            "loss": terms.loss.detach() * tokens,
            "ntokens": tokens,
            "nsentences": int(sample["target"].size(0)),
            "sample_size": tokens,
        }
        if training:
            self.update, self.depth = update, terms.depth
        for name, (total, count) in terms.measures.items():
            log[f"{name}_sum"], log[f"{name}_count"] = total.float(), count.float()
        if not training and self.task.byte_lengths is not None:
            log["scored_bytes"] = (self.task.bytes_of(batch.targets) * batch.scored).sum().float()
        self.may_overflow = torch.is_autocast_enabled() or next(model.parameters()).dtype == torch.float16
        return terms.loss * tokens, tokens, log

    def observe(self, log: dict[str, float]) -> None:
        """Move the schedule; the task calls this after each update, with what every process knows."""
        self.advance(self.update + 1, _means([log]))

    def check_finite(self, log: dict[str, float]) -> None:
        """Stop on a loss that is not finite, given what `forward` logs, summed over processes and read.

        Raises:
            ConfigurationError: naming the terms that are not finite.
        """
        if self.may_overflow or math.isfinite(log["loss"]):
            return
        sums = {key.removesuffix("_sum"): value for key, value in log.items() if key.endswith("_sum")}
        broken = [name for name, value in sums.items() if not math.isfinite(value)]
        raise ConfigurationError(f"the loss is not finite ({', '.join(broken) or 'sum of the terms'}): {REMEDY}")

    @staticmethod
    def reduce_metrics(logging_outputs) -> None:
        """Log the loss in bits, and every measure."""
        size = _total(logging_outputs, "sample_size")
        metrics.log_scalar("loss", _total(logging_outputs, "loss") / size * BITS, size, round=3)
        ObjectiveCriterion.log_measures(logging_outputs)

    @staticmethod
    def log_measures(logging_outputs) -> None:
        """Log every measure: losses as nll in bits, bits per byte and perplexity, errors over label variance."""
        means = _means(logging_outputs)
        for name, mean in means.items():
            weight = _total(logging_outputs, f"{name}_count")
            if name.endswith("_nll"):
                metrics.log_scalar(name, mean * BITS, weight, round=3)
            elif name == "dynamics":
                metrics.log_scalar(name, mean, weight, round=5)
                metrics.log_derived("one_step_error", partial(_over_variance, name=name))
            elif "drift" in name:
                metrics.log_scalar(f"_{name}", mean, weight)  # not shown
                metrics.log_derived(name, partial(_over_variance, name=f"_{name}"))
            else:
                metrics.log_scalar(name, mean, weight, round=4)
        # bytes are counted in validation, where both are scored on the same targets
        scored_bytes = _total(logging_outputs, "scored_bytes")
        for name in ("ceiling", "rnn"):
            if f"{name}_nll" in means:
                metrics.log_derived(f"{name}_ppl", partial(_perplexity, name=f"{name}_nll"))
                if scored_bytes:
                    bits = _total(logging_outputs, f"{name}_nll_sum") * BITS
                    metrics.log_scalar(f"{name}_bpb", bits / scored_bytes, scored_bytes, round=3)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def _total(logging_outputs, key: str) -> float:
    return float(sum(log.get(key, 0) for log in logging_outputs))


def _means(logging_outputs) -> dict[str, float]:
    """Measure → mean, without those that were not taken."""
    names = [key[: -len("_sum")] for key in logging_outputs[0] if key.endswith("_sum")]
    totals = {
        name: (_total(logging_outputs, f"{name}_sum"), _total(logging_outputs, f"{name}_count")) for name in names
    }
    return {name: total / count for name, (total, count) in totals.items() if count}


def _perplexity(meters, name: str) -> float:
    return round(2 ** min(meters[name].avg, 64.0), 2)


def _over_variance(meters, name: str) -> float | None:
    """A mean over the mean label variance: of all batches together, however a validation was cut into them."""
    mean = meters[name].avg
    return None if mean is None else round(mean / max(meters["label_variance"].avg, 1e-12), 4)
