"""Model `smt_lm`: teacher, future predictor and the RNN, which is all that scoring and generation use."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.models import BaseFairseqModel, register_model

import fairseq_smt
from fairseq_smt.compat.checkpoints import the_checkpoint
from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.compilation import compile_parts
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig, from_flags
from fairseq_smt.core.fingerprints import mark, mixed, of_symbols, pack, unpack
from fairseq_smt.core.future import FUTURES, build_future
from fairseq_smt.core.interface import Modules
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.teacher import HEADS, build_teacher, fingerprint
from fairseq_smt.data.vocabulary import TextCodec
from fairseq_smt.errors import ConfigurationError, require
from fairseq_smt.flags import flags_of
from fairseq_smt.models.decoder import RecurrentDecoder, TeacherDecoder

CHOICES = {"cell": CELLS, "memory_head": [*HEADS, "none"], "future": FUTURES}


@dataclass
class SmtLanguageModelConfig(flags_of(RnnConfig, TeacherConfig, FutureConfig, choices=CHOICES)):
    """Sizes of the RNN, the teacher and the future predictor, and how the model is used."""

    train_part: ChoiceEnum(["all", "rnn", "readout"]) = field(
        default="all",
        metadata={"help": "what is trained; the rest is frozen", "argparse_alias": "--train"},
    )
    score_with: ChoiceEnum(["rnn", "teacher"]) = field(
        default="rnn",
        metadata={
            "help": "what forward, fairseq-eval-lm and fairseq-generate use: the RNN unrolled from its initial memory, "
            "or the readout on the teacher's memories (the RNN's ceiling)"
        },
    )
    compile: bool = field(
        default=False,
        metadata={
            "help": "torch.compile for the transformer cell and, on a GPU, a causal teacher's trunk: a minute at the "
            "start; docs/explanation/house.md says what it gains"
        },
    )


@register_model("smt_lm", dataclass=SmtLanguageModelConfig)
class SmtLanguageModel(BaseFairseqModel):
    """`decoder` holds the RNN; `teacher` and `future` are None with `--memory-head none`.

    The model knows no loss: with an objective, `forward` hands it the core modules and returns its result. Without
    one it returns logits, which is what `cross_entropy` (then BPTT), eval-lm and the generator call.
    """

    def __init__(self, cfg: SmtLanguageModelConfig, dictionary):
        super().__init__()
        vocabulary = len(dictionary)
        self.num_updates = 0
        self.has_objective = False
        self.supported_targets = {"future"}
        sizes = from_flags(RnnConfig, cfg)
        rnn = RecurrentLanguageModel(vocabulary, sizes)
        self.teacher = self.future = None
        if cfg.memory_head != "none":
            self.teacher = build_teacher(vocabulary, sizes, from_flags(TeacherConfig, cfg))
            self.future = build_future(vocabulary, sizes, from_flags(FutureConfig, cfg))
        require(
            cfg.score_with == "rnn" or self.teacher is not None,
            "--score-with teacher needs a teacher: remove --memory-head none.",
        )
        self.trains_teacher = self.teacher is not None and str(cfg.train_part) == "all"
        self.decoder = (
            RecurrentDecoder(dictionary, rnn)
            if cfg.score_with == "rnn"
            else TeacherDecoder(dictionary, rnn, self.teacher)
        )
        self.register_buffer("vocabulary", pack(of_symbols(dictionary.symbols)))
        self.register_buffer("teacher_fingerprint", pack(0))
        self.register_state_dict_post_hook(_note_teacher)
        self._freeze(str(cfg.train_part))
        if cfg.compile:
            compile_parts(Modules(rnn, self.teacher, self.future))

    def _freeze(self, train: str) -> None:
        if train == "all":
            return
        self.requires_grad_(False)
        part = self.decoder.rnn if train == "rnn" else self.decoder.rnn.readout
        part.requires_grad_(True)

    @classmethod
    def build_model(cls, cfg, task):
        return cls(cfg, task.source_dictionary)

    @classmethod
    def from_pretrained(cls, model_name_or_path, checkpoint_file="model.pt", data_name_or_path=".", **kwargs):
        """fairseq's hub interface, whose texts are those of DATA's vocabulary unless `bpe` names another encoder."""
        fairseq_smt.register()  # the checkpoint's task
        fixed = {"label_cache": ""}
        hub = super().from_pretrained(model_name_or_path, checkpoint_file, data_name_or_path, **fixed | kwargs)
        vocabulary = getattr(hub.task, "vocabulary", None)
        if hub.bpe is None and vocabulary is not None:
            hub.bpe = TextCodec(vocabulary)
        return hub

    @property
    def rnn(self) -> RecurrentLanguageModel:
        return self.decoder.rnn

    def forward(self, src_tokens, src_lengths=None, objective=None, carried=None):
        """Logits (B, T, V) and None, or with an objective its result on the core modules.

        Memory is carried from block to block where the rows' streams are given.
        """
        if objective is not None:
            self.has_objective = True
            return objective(Modules(self.rnn, self.teacher, self.future))
        return self.decoder(src_tokens, carried=carried, src_lengths=src_lengths)

    def set_num_updates(self, num_updates: int) -> None:
        super().set_num_updates(num_updates)
        self.num_updates = num_updates
        if num_updates and self.has_objective and self.trains_teacher:
            mark(self.teacher_fingerprint)  # a trained teacher; which one, a checkpoint says (`_note_teacher`)

    @property
    def has_trained_teacher(self) -> bool:
        """Whether the teacher came out of a checkpoint in which it had been trained."""
        return self.teacher is not None and bool(self.teacher_fingerprint.any())

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `state_dict` holds, without the cost of the teacher's fingerprint."""
        return dict(self.named_parameters()) | dict(self.named_buffers())

    def max_positions(self) -> int:
        return self.decoder.max_positions()

    def max_decoder_positions(self) -> int:
        return self.decoder.max_positions()

    def load_state_dict(self, state_dict, strict=True, model_cfg=None, args=None):
        """Load a checkpoint; a model without a teacher takes the RNN out of one that has it.

        A checkpoint averaged from several of a run has a teacher of its own, and is given its fingerprint.

        Raises:
            ConfigurationError: when the checkpoint is of another model, vocabulary or size.
        """
        teacher = {k.removeprefix("teacher."): v for k, v in state_dict.items() if k.startswith("teacher.")}
        if self.teacher is None:
            state_dict = {k: v for k, v in state_dict.items() if not k.startswith(("teacher.", "future."))}
        self._check_checkpoint(state_dict)
        if teacher and mixed(state_dict["teacher_fingerprint"]):
            state_dict = state_dict | {"teacher_fingerprint": pack(fingerprint(teacher))}
        return super().load_state_dict(state_dict, strict, model_cfg, args)

    def _check_checkpoint(self, state: dict[str, Any]) -> None:
        own = self.tensors()
        if "vocabulary" not in state or "decoder.rnn.initial.weight" not in state:
            raise ConfigurationError(f"{the_checkpoint()} is not one of an smt_lm model: name another file.")
        if unpack(state["vocabulary"]) != unpack(own["vocabulary"]):
            raise ConfigurationError(
                f"{the_checkpoint()} was trained with another dictionary: DATA must hold the dict.txt of its training "
                "data (for task smt_probe, give the --probe-* flags of its training)."
            )
        if self.teacher is not None and not any(k.startswith("teacher.") for k in state):
            raise ConfigurationError(
                f"{the_checkpoint()} has no teacher: add --memory-head none (in scoring and generation, "
                "--model-overrides \"{'memory_head': 'none'}\")."
            )
        different = sorted(own.keys() ^ state.keys()) or sorted(k for k in own if own[k].shape != state[k].shape)
        if different:
            name = different[0]
            shapes = [tuple(s[name].shape) if name in s else "absent" for s in (state, own)]
            raise ConfigurationError(
                f"{the_checkpoint()} is of a model of other sizes ({name} is {shapes[0]} there, {shapes[1]} here): "
                "give the --arch, --cell, --memory-*, --trunk-*, --future* and --readout-hidden it was trained with."
            )


def _note_teacher(model: SmtLanguageModel, state: dict[str, Any], prefix: str, _) -> None:
    """Write the fingerprint of a teacher that is being trained into a checkpoint; a frozen one keeps its own.

    Without an objective (fairseq's `cross_entropy`) nothing trains the teacher, free or not.
    """
    if model.trains_teacher and model.teacher_fingerprint.any():
        state[f"{prefix}teacher_fingerprint"] = pack(fingerprint(model.teacher)).to(model.teacher_fingerprint.device)
