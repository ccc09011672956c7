"""Task `smt_lm`: fairseq's language modelling on future targets, from a memory before any input."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fairseq import utils
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from fairseq.tokenizer import tokenize_line

from fairseq_smt.core import fingerprints
from fairseq_smt.core.interface import Batch
from fairseq_smt.data import vocabulary
from fairseq_smt.data.binarized import check_binarized, check_exists
from fairseq_smt.data.blocks import BosAwareDataset
from fairseq_smt.data.label_cache.dataset import LabelledDataset, with_labels
from fairseq_smt.data.shards import check_alike
from fairseq_smt.data.streams import StreamDataset
from fairseq_smt.errors import ConfigurationError, require
from fairseq_smt.tasks import fairseq_flags
from fairseq_smt.tasks.asking import AskConfig, AskingTask
from fairseq_smt.tasks.baseline import BaselineTask
from fairseq_smt.tasks.carrying import CarryConfig, CarryingTask
from fairseq_smt.tasks.figures import FiguresConfig, FiguresTask
from fairseq_smt.tasks.generation import PromptGenerator
from fairseq_smt.tasks.scheduled import CurriculumConfig, ScheduledTask

logger = logging.getLogger(__name__)

BLOCK_FLAGS = ("tokens_per_sample", "sample_break_mode", "add_bos_token", "ask")


@dataclass
class SmtLanguageModelingConfig(FiguresConfig, AskConfig, CarryConfig, CurriculumConfig, LanguageModelingConfig):
    """The fields of fairseq's `language_modeling` task, and those of our own."""

    label_cache: str = field(
        default="",
        metadata={"help": "folder written by fairseq-smt-cache-labels: take labels from there and run no teacher"},
    )


@register_task("smt_lm", dataclass=SmtLanguageModelingConfig)
class SmtLanguageModelingTask(FiguresTask, CarryingTask, AskingTask, BaselineTask, ScheduledTask, LanguageModelingTask):
    """Language modelling for Supervised Memory Training.

    Attributes:
        vocabulary: how DATA's symbols were made; None for data from elsewhere.
        byte_lengths: bytes that each symbol stands for, (V,); None without a vocabulary.

    Raises:
        ConfigurationError: for self or past targets, missing data, or a truncated output vocabulary.
    """

    def __init__(self, args, dictionary, output_dictionary=None, targets=None):
        super().__init__(args, dictionary, output_dictionary, targets)
        self.vocabulary = vocabulary.load(Path(utils.split_paths(args.data)[0])) if args.data else None
        self.byte_lengths = None
        if self.vocabulary is not None:
            self.byte_lengths = torch.tensor(vocabulary.byte_lengths(self.vocabulary, dictionary.symbols))
        self.set_up_curriculum(args, args.tokens_per_sample)
        self.set_up_carrying(args)
        self.set_up_asking(args)
        self.set_up_figures(args)
        for flag in BLOCK_FLAGS:
            self.state.add_factory(flag, lambda flag=flag: self._block_flag(flag))
            getattr(self.state, flag)

    def _block_flag(self, flag: str) -> Any:
        value = getattr(self.args, flag)
        return value if isinstance(value, (int, bool)) else str(getattr(value, "value", value))

    @classmethod
    def setup_task(cls, args, from_checkpoint: bool = False, **kwargs):
        if not from_checkpoint:
            fairseq_flags.check(args)
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
        if not args.data:
            return super().setup_dictionary(args, **kwargs)
        folders = utils.split_paths(args.data)
        path = os.path.join(folders[0], "dict.txt")
        remedy = "DATA must be a folder written by fairseq-preprocess --only-source."
        require(os.path.isfile(path), f"{path} does not exist: {remedy}")
        try:
            found = super().setup_dictionary(args, **kwargs)
            check_alike(folders)
        except ConfigurationError:
            raise
        except Exception as error:
            reason = " ".join(str(error).partition("If using the Camembert")[0].split()).rstrip(".")
            raise ConfigurationError(
                f"{path} is not a dictionary of fairseq, or damaged ({reason}): {remedy}"
            ) from error
        require(len(found[0]) > found[0].nspecial, f"{path} has no symbols: {remedy}")
        return found

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs):
        paths = utils.split_paths(self.args.data)
        folder = paths[(epoch - 1) % len(paths)]
        for path in paths if "data_selector" in kwargs else [folder]:  # which fairseq says of training data alone
            check_exists(path, split, self.args.dataset_impl)
        check_binarized(folder, split, combine)
        super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        plain = self.datasets[split]
        carrying = self.args.carry_memory
        self.datasets[split] = StreamDataset.like(plain, self.args) if carrying else self.blocks_like(plain)
        if self.args.label_cache:
            self._join_labels(split, epoch, combine)

    def build_criterion(self, cfg, *args):
        criterion = super().build_criterion(cfg, *args)
        require(
            not self.args.label_cache or getattr(criterion, "reads_labels", False),
            f"--criterion {cfg._name} has no use for labels: remove --label-cache, or choose criterion smt or dmt.",
        )
        return criterion

    @property
    def dictionary_fingerprint(self) -> int:
        return fingerprints.of_symbols(self.dictionary.symbols)

    def _join_labels(self, split: str, epoch: int, combine: bool) -> None:
        """Labels from the cache for the split just loaded; all splits must have theirs from one teacher."""
        paths = utils.split_paths(self.args.data)
        folder = paths[(epoch - 1) % len(paths)]
        dataset, root = self.datasets[split], self.args.label_cache
        labelled = with_labels(root, dataset, self.args, self.dictionary_fingerprint, folder, split, combine)
        first = self.label_cache or labelled.cache
        require(
            first.teacher == labelled.cache.teacher,
            f"the labels in {labelled.cache.folder} are of another teacher than those in {first.folder}: cache both "
            "splits with one checkpoint.",
        )
        self.datasets[split], self.label_cache = labelled, labelled.cache

    def eval_lm_dataloader(self, dataset, **kwargs):
        if isinstance(dataset, LabelledDataset):  # scoring asks for no labels
            dataset = dataset.dataset
        if isinstance(dataset, BosAwareDataset):
            dataset.bos_predicts_bos = True
            if self.byte_lengths is not None:
                self._log_bits_per_byte(dataset, kwargs.get("num_shards", 1))
        return super().eval_lm_dataloader(dataset, **kwargs)

    def _log_bits_per_byte(self, dataset: BosAwareDataset, shards: int) -> None:
        """The factor from fairseq-eval-lm's bits per token; the target of a bos is not scored."""
        tokens = length = 0
        for i in range(len(dataset)):
            target = dataset[i]["target"][int(self.args.add_bos_token) :]
            tokens += int(target.ne(self.dictionary.pad()).sum())
            length += int(self.byte_lengths[target].sum())
        if length:
            where = f" in all {shards} shards" if shards > 1 else ""
            logger.info(
                f"bits per byte = bits per token × {tokens / length:.6f} "
                f"({tokens} scored tokens, {length} bytes{where})"
            )

    def bytes_of(self, target: torch.Tensor) -> torch.Tensor:
        """Bytes that target tokens (...) stand for: (...)."""
        self.byte_lengths = self.byte_lengths.to(target.device)
        return self.byte_lengths[target]

    def build_bpe(self, args):
        """The encoder of `--bpe`, or without one that of DATA's own vocabulary."""
        chosen = super().build_bpe(args)
        return vocabulary.LineCodec(self.vocabulary) if chosen is None and self.vocabulary else chosen

    def build_generator(self, models, args, seq_gen_cls=None, **kwargs):
        if seq_gen_cls is None and not getattr(args, "print_alignment", False):
            seq_gen_cls = PromptGenerator
        args.sampling_topk = min(args.sampling_topk, len(self.target_dictionary))  # as many as there are
        require(
            args.max_len_a > 0 or args.min_len <= args.max_len_b,
            f"--min-len {args.min_len} is larger than --max-len-b {args.max_len_b}: raise --max-len-b.",
        )
        return super().build_generator(models, args, seq_gen_cls=seq_gen_cls, **kwargs)

    def get_interactive_tokens_and_lengths(self, lines, encode_fn):
        """Tokens of the prompts, as fairseq's; a warning names the symbols that the dictionary does not have."""
        for line in lines:
            symbols = tokenize_line(encode_fn(line))
            unknown = [s for s in dict.fromkeys(symbols) if s not in self.source_dictionary]
            if unknown and len(unknown) == len(set(symbols)):
                logger.warning(
                    f"no symbol of the prompt {line[:40]!r} is in DATA's dictionary, each is read as <unk>: give the "
                    "--bpe that DATA was made with"
                )
            elif unknown:
                logger.warning(
                    f"not in DATA's dictionary and read as <unk> in the prompt {line[:40]!r}: {' '.join(unknown[:20])}"
                )
        return super().get_interactive_tokens_and_lengths(lines, encode_fn)

    def inference_step(self, generator, models, sample, prefix_tokens=None, constraints=None):
        """Generate; a prompt from the start of a document begins with eos, which the generator takes for an end."""
        bos, eos = self.source_dictionary.bos(), self.source_dictionary.eos()
        source = sample["net_input"]["src_tokens"]
        first = bos if self.args.add_bos_token else eos
        if prefix_tokens is None:
            prefix_tokens = source[:, 1:] if source[:, 0].eq(first).all() else source
        if self.args.add_bos_token:
            prefix_tokens = prefix_tokens.clone()
            prefix_tokens[:, :1][prefix_tokens[:, :1] == eos] = bos
        if isinstance(generator, PromptGenerator):
            self._warn_of_long_prompts(generator, prefix_tokens)
        return super().inference_step(generator, models, sample, prefix_tokens, constraints)

    def _warn_of_long_prompts(self, generator: PromptGenerator, prompts: torch.Tensor) -> None:
        longest = int(prompts.ne(self.source_dictionary.pad()).sum(1).max())
        room = generator.room(longest)
        if longest >= room:
            logger.warning(
                f"a prompt of {longest} symbols fills --max-len-b, which counts it, and is cut at {room} and not "
                "continued: with --max-len-a 1, --max-len-b symbols follow every prompt"
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare with the checkpoint's blocks; fairseq calls this for scoring and generation."""
        self._compare_blocks(state_dict)
        super().load_state_dict(state_dict | self._blocks())

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """With the blocks, for a run that goes on to compare."""
        return super().get_checkpoint_dict() | {type(self).__name__: self._blocks()}

    def set_checkpoint_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare with the blocks of the run so far; fairseq calls this where training goes on."""
        self._compare_blocks(state_dict)

    def _blocks(self) -> dict[str, Any]:
        return {flag: getattr(self.state, flag) for flag in BLOCK_FLAGS}

    def _compare_blocks(self, trained: dict[str, Any]) -> None:
        for flag, here in self._blocks().items():
            if trained.get(flag, here) != here:
                name = flag.replace("_", "-")
                logger.warning(f"the checkpoint was trained with --{name} {trained[flag]}, this command has {here}")

    def batch_of(self, sample: dict[str, Any]) -> Batch:
        """The core's view of a sample. The target of a bos is trained, but not scored, as in fairseq-eval-lm."""
        inputs, target = sample["net_input"]["src_tokens"], sample["target"]
        time = torch.arange(inputs.shape[1], device=inputs.device)
        real = time < sample["net_input"]["src_lengths"].to(inputs.device)[:, None]
        asked = real & target.ne(self.target_dictionary.pad())
        scored = asked & inputs.ne(self.source_dictionary.bos()) if self.args.add_bos_token else asked
        ids, carried = sample["id"].to(inputs.device), sample["net_input"].get("carried")
        return Batch(inputs, target, real, asked, ids, scored, sample.get("labels"), carried)
