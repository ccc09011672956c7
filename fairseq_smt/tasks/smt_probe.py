"""Task `smt_probe`: generated sequences that ask for what only a memory can tell. It needs no data."""

import logging
from dataclasses import dataclass, field, make_dataclass
from typing import Any

import torch
from fairseq import utils
from fairseq.dataclass import ChoiceEnum
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II

from fairseq_smt.core.interface import Batch
from fairseq_smt.criterions.objective import ObjectiveCriterion
from fairseq_smt.data.probe_dataset import ProbeDataset, probe_dictionary, probe_sample
from fairseq_smt.data.probes import PROBES, SPLITS
from fairseq_smt.data.probes.probe import best_guess
from fairseq_smt.errors import require, require_positive
from fairseq_smt.tasks import fairseq_flags
from fairseq_smt.tasks.baseline import BaselineTask
from fairseq_smt.tasks.figures import FiguresConfig, FiguresTask
from fairseq_smt.tasks.scheduled import CurriculumConfig, ScheduledTask

logger = logging.getLogger(__name__)


@dataclass
class ProbeConfig(FiguresConfig, CurriculumConfig):
    """The probe, its length, its curriculum and its figures."""

    probe: ChoiceEnum(list(PROBES)) = field(default="retrieval", metadata={"help": "which sequences"})
    tokens_per_sample: int = field(default=128, metadata={"help": "T, length of a sequence"})
    probe_seed: int = field(default=1, metadata={"help": "seed of the sequences"})
    probe_epoch_size: int = field(default=16384, metadata={"help": "sequences per epoch; every epoch has new ones"})
    probe_valid_size: int = field(default=512, metadata={"help": "sequences in each of the splits valid and test"})
    add_bos_token: bool = field(default=False, metadata={"help": "not for probes; fairseq's transformer_lm reads it"})
    max_target_positions: int | None = II("task.tokens_per_sample")  # read by fairseq's language models, no flag


def difficulty_flags() -> list[tuple[str, type, Any]]:
    """--probe-NAME for every NAME that a probe has a field of; probes that have the same one share its flag."""
    found: dict[str, tuple[type, Any, str]] = {}
    probes: dict[str, list[str]] = {}
    for kind in PROBES.values():
        for name, own in kind.difficulties().items():
            flag = (own.type, own.default, own.metadata["help"])
            assert found.setdefault(name, flag) == flag, f"two probes differ about --probe-{name}"
            probes.setdefault(name, []).append(kind.name)
    return [
        (f"probe_{name}", kind, field(default=default, metadata={"help": f"{', '.join(probes[name])}: {what}"}))
        for name, (kind, default, what) in found.items()
    ]


SmtProbeConfig = make_dataclass("SmtProbeConfig", difficulty_flags(), bases=(ProbeConfig,))


@register_task("smt_probe", dataclass=SmtProbeConfig)
class SmtProbeTask(FiguresTask, BaselineTask, ScheduledTask, FairseqTask):
    """A probe of memory, for criterion `smt` and for any language model of fairseq's with `cross_entropy`.

    Criterion `smt` logs the accuracy of teacher and RNN; with one of fairseq's, validation logs that of the model's own
    forward, as `rnn_accuracy` and as `accuracy`.

    Raises:
        ConfigurationError: for sizes that make no sequence.
    """

    byte_lengths = None
    """A probe's symbols are no text: there are no bits per byte."""

    def __init__(self, cfg: SmtProbeConfig):
        super().__init__(cfg)
        require(not cfg.add_bos_token, "a probe's sequences begin with their first token: remove --add-bos-token.")
        require_positive(probe_epoch_size=cfg.probe_epoch_size, probe_valid_size=cfg.probe_valid_size)
        kind = PROBES[str(cfg.probe)]
        difficulty = {name: getattr(cfg, f"probe_{name}") for name in kind.difficulties()}
        self.probe = kind(cfg.tokens_per_sample, cfg.probe_seed, **difficulty)
        self.probe.check_splits(cfg.probe_valid_size)
        self.set_up_curriculum(cfg, cfg.tokens_per_sample)
        self.set_up_figures(cfg)
        require(
            not cfg.curriculum_start or cfg.curriculum_start >= self.probe.shortest,
            f"--curriculum-start must be at least {self.probe.shortest} for --probe {cfg.probe}, "
            f"not {cfg.curriculum_start}.",
        )
        self.dictionary = probe_dictionary(self.probe)
        logger.info(
            f"probe {cfg.probe}: {len(self.dictionary)} types, accuracy of guessing {self.probe.chance:.3f} (chance), "
            f"at best from the current input and its position {best_guess(self.probe):.3f} (no memory)"
        )

    @classmethod
    def setup_task(cls, cfg: SmtProbeConfig, from_checkpoint: bool = False, **kwargs) -> "SmtProbeTask":
        """Build the task; fairseq's other keyword arguments are of no use to it."""
        if not from_checkpoint:
            fairseq_flags.check(cfg)
        return cls(cfg)

    def load_dataset(self, split: str, combine: bool = False, task_cfg=None, **kwargs) -> None:
        require(split in SPLITS, f"a probe has no split {split!r}; its splits are {', '.join(SPLITS)}.")
        size = self.cfg.probe_epoch_size if split == "train" else self.cfg.probe_valid_size
        self.datasets[split] = ProbeDataset(self.probe, self.dictionary, size, split)

    def truncate(self, sample: dict[str, Any], length: int) -> dict[str, Any]:
        """The same sequences at a shorter length, with all that they ask for: generated anew from their ids.

        On the host, where their targets are counted without a wait for the device.
        """
        shorter = probe_sample(self.probe, self.dictionary, sample["numbers"], length)
        return utils.apply_to_sample(lambda x: x.to(sample["id"].device, non_blocking=True), shorter)

    def tokens_of(self, sample: dict[str, Any]) -> int:
        return sample["net_input"]["src_tokens"].numel()

    def reduce_metrics(self, logging_outputs, criterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        if not isinstance(criterion, ObjectiveCriterion) and "rnn_accuracy_count" in logging_outputs[0]:
            metrics.log_derived("accuracy", lambda meters: round(meters["rnn_accuracy"].avg, 4))

    def batch_of(self, sample: dict[str, Any]) -> Batch:
        """The core's view of a sample."""
        inputs, target = sample["net_input"]["src_tokens"], sample["target"]
        time = torch.arange(inputs.shape[1], device=inputs.device)
        real = time < sample["net_input"]["src_lengths"][:, None]
        return Batch(inputs, target, real, target.ne(self.dictionary.pad()), sample["id"])

    @property
    def source_dictionary(self):
        return self.dictionary

    @property
    def target_dictionary(self):
        return self.dictionary
