"""Which targets of a block are asked for: all, or the last one, such as the class of an image after its pixels."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq import utils
from fairseq.data import MonolingualDataset
from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from fairseq_smt.data.blocks import BosAwareDataset, LastTargetDataset
from fairseq_smt.data.pixels import DESCRIPTION, PixelFormat
from fairseq_smt.errors import require

logger = logging.getLogger(__name__)


@dataclass
class AskConfig(FairseqDataclass):
    """The flag."""

    ask: ChoiceEnum(["all", "last"]) = field(
        default="all",
        metadata={
            "help": "targets of a block that are trained on and scored: all, or its last symbol alone, such as the "
            "class that fairseq-smt-prepare-pixels --classes writes after the pixels"
        },
    )


class AskingTask:
    """Mixin in front of a task whose datasets are made by `blocks_like`."""

    asks_last = False

    def set_up_asking(self, cfg: Any) -> None:
        """Read the flags; call it from `__init__`.

        Raises:
            ConfigurationError: for flags that do not go together, or data without classes.
        """
        self.asks_last = str(cfg.ask) == "last"
        folder = Path(utils.split_paths(cfg.data)[0]) if cfg.data else None
        pixels = PixelFormat.load(folder) if folder and (folder / DESCRIPTION).is_file() else None
        if not self.asks_last:
            if pixels and pixels.classes:
                logger.info(
                    "DATA has a class after each image, and every pixel is asked for too: --ask last asks for the class"
                )
            return
        mode, shortened = (str(getattr(x, "value", x)) for x in (cfg.sample_break_mode, cfg.shorten_method))
        require(
            mode == "eos",
            f"--ask last asks for the last symbol of an item, which --sample-break-mode {mode.lower()} does not keep "
            "whole: add --sample-break-mode eos.",
        )
        require(
            pixels is None or bool(pixels.classes),
            f"--ask last would ask for the last pixel, as {cfg.data} has no classes: make it anew by "
            "fairseq-smt-prepare-pixels --classes.",
        )
        for flag, given in (
            ("add-bos-token", cfg.add_bos_token),
            ("carry-memory", cfg.carry_memory),
            ("curriculum-start", cfg.curriculum_start),
            ("shorten-method", shortened != "none"),
        ):
            require(not given, f"--ask last needs each item as it is, as one block: remove --{flag}.")

    def blocks_like(self, plain: MonolingualDataset) -> BosAwareDataset:
        """The dataset with the targets that are asked for."""
        return (LastTargetDataset if self.asks_last else BosAwareDataset).like(plain)

    def truncate(self, sample: dict[str, Any], length: int) -> dict[str, Any]:
        longest = sample["net_input"]["src_tokens"].shape[1]
        require(
            not self.asks_last,
            f"--ask last asks at the end of blocks of {longest} tokens, which cannot be cut to {length}: give "
            f"--tokens-per-sample {longest}.",
        )
        return super().truncate(sample, length)

    def eval_lm_dataloader(self, dataset, **kwargs):
        require(
            not (self.asks_last and kwargs.get("context_window")),
            "--context-window has no meaning for items of their own: remove it, or --ask last.",
        )
        return super().eval_lm_dataloader(dataset, **kwargs)

    def build_generator(self, *args, **kwargs):
        require(
            not self.asks_last,
            "--ask last leaves nothing to generate: remove it; with --prefix-size as many pixels as there are, the "
            "next symbol is the class.",
        )
        return super().build_generator(*args, **kwargs)
