"""Task `smt_lm`: fairseq's language modelling on future targets, from a memory before any input."""

import hashlib
import logging
import os
from dataclasses import dataclass
from typing import Any

import torch
from fairseq import utils
from fairseq.data import Dictionary, MonolingualDataset
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask

from fairseq_smt.core.batch import Batch
from fairseq_smt.errors import ConfigurationError, require
from fairseq_smt.tasks.scheduled import CurriculumConfig, ScheduledTask

logger = logging.getLogger(__name__)

BLOCK_FLAGS = ("tokens_per_sample", "sample_break_mode", "add_bos_token")


def dictionary_fingerprint(dictionary: Dictionary) -> int:
    """63 bits that tell dictionaries apart by their symbols and the symbols' order."""
    digest = hashlib.sha256("\n".join(dictionary.symbols).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class BosAwareDataset(MonolingualDataset):
    """Blocks whose bos has the token after it as its target.

    fairseq's dataset asks for bos after bos, so that a model generates `<s>` from an empty prompt. Scoring by
    fairseq-eval-lm skips that column and checks that it holds bos: see `SmtLanguageModelingTask.eval_lm_dataloader`.
    """

    bos_predicts_bos = False

    @classmethod
    def like(cls, plain: MonolingualDataset) -> "BosAwareDataset":
        """The same blocks as a dataset of fairseq's own class."""
        dataset = cls.__new__(cls)
        dataset.__dict__.update(plain.__dict__)
        return dataset

    def _maybe_add_bos(self, source, target):
        first = source[:1].clone()
        source, target = super()._maybe_add_bos(source, target)
        if self.add_bos_token and not self.bos_predicts_bos and target is not None:
            target[:1] = self._filter_vocab(first)
        return source, target


@dataclass
class SmtLanguageModelingConfig(CurriculumConfig, LanguageModelingConfig):
    """The fields of fairseq's `language_modeling` task and the length curriculum."""


@register_task("smt_lm", dataclass=SmtLanguageModelingConfig)
class SmtLanguageModelingTask(ScheduledTask, LanguageModelingTask):
    """Language modelling for Supervised Memory Training.

    Raises:
        ConfigurationError: for self or past targets, missing data, or a truncated output vocabulary.
    """

    def __init__(self, args, dictionary, output_dictionary=None, targets=None):
        super().__init__(args, dictionary, output_dictionary, targets)
        self.set_up_curriculum(args, args.tokens_per_sample)
        for flag in BLOCK_FLAGS:
            self.state.add_factory(flag, lambda flag=flag: self._block_flag(flag))
            getattr(self.state, flag)

    def _block_flag(self, flag: str) -> Any:
        value = getattr(self.args, flag)
        return value if isinstance(value, (int, bool)) else str(getattr(value, "value", value))

    @classmethod
    def setup_task(cls, args, **kwargs):
        require(
            not getattr(args, "self_target", False) and not getattr(args, "past_target", False),
            "task smt_lm predicts the future: remove --self-target and --past-target.",
        )
        require(args.tokens_per_sample > 0, f"--tokens-per-sample must be positive, not {args.tokens_per_sample}.")
        require(
            args.output_dictionary_size < 0,
            "the RNN reads and predicts one vocabulary: remove --output-dictionary-size and make a smaller dictionary "
            "with fairseq-preprocess --nwordssrc.",
        )
        return super().setup_task(args, **kwargs)

    @classmethod
    def setup_dictionary(cls, args, **kwargs):
        if args.data:
            path = os.path.join(utils.split_paths(args.data)[0], "dict.txt")
            require(
                os.path.isfile(path),
                f"{path} does not exist: DATA must be a folder written by fairseq-preprocess --only-source.",
            )
        return super().setup_dictionary(args, **kwargs)

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs):
        try:
            super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"{error}: DATA has no split {split!r}; binarise it with fairseq-preprocess, or name another one by "
                "--train-subset, --valid-subset or --gen-subset."
            ) from None
        self.datasets[split] = BosAwareDataset.like(self.datasets[split])

    def eval_lm_dataloader(self, dataset, **kwargs):
        if isinstance(dataset, BosAwareDataset):
            dataset.bos_predicts_bos = True
        return super().eval_lm_dataloader(dataset, **kwargs)

    def inference_step(self, generator, models, sample, prefix_tokens=None, constraints=None):
        """Generate; a prompt from the start of a document begins with eos, which the generator takes for an end."""
        bos, eos = self.source_dictionary.bos(), self.source_dictionary.eos()
        if self.args.add_bos_token:
            if prefix_tokens is None:
                prefix_tokens = sample["net_input"]["src_tokens"]
                if prefix_tokens.nelement() and prefix_tokens[:, 0].eq(bos).all():
                    prefix_tokens = prefix_tokens[:, 1:]
            prefix_tokens = prefix_tokens.clone()
            prefix_tokens[:, :1][prefix_tokens[:, :1] == eos] = bos
        return super().inference_step(generator, models, sample, prefix_tokens, constraints)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare with the checkpoint's blocks; fairseq calls this for scoring and generation."""
        for flag in BLOCK_FLAGS:
            trained, here = state_dict.get(flag), getattr(self.state, flag)
            if trained is not None and trained != here:
                name = flag.replace("_", "-")
                logger.warning(f"the checkpoint was trained with --{name} {trained}, this command has {here}")
        own = {flag: getattr(self.state, flag) for flag in BLOCK_FLAGS}
        super().load_state_dict({**state_dict, **own})

    def batch_of(self, sample: dict[str, Any]) -> Batch:
        """The core's view of a sample. The target of a bos is trained, but not scored, as in fairseq-eval-lm."""
        inputs, target = sample["net_input"]["src_tokens"], sample["target"]
        time = torch.arange(inputs.shape[1], device=inputs.device)
        real = time < sample["net_input"]["src_lengths"].to(inputs.device)[:, None]
        asked = real & target.ne(self.target_dictionary.pad())
        scored = asked & inputs.ne(self.source_dictionary.bos()) if self.args.add_bos_token else asked
        return Batch(inputs, target, real, asked, sample["id"].to(inputs.device), scored)
