"""Figures and a sample for TensorBoard at each validation, beside the scalars that fairseq writes."""

import logging
import os
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.distributed import utils as distributed
from omegaconf import II

from fairseq_smt.errors import unwritable

logger = logging.getLogger(__name__)


@dataclass
class FiguresConfig(FairseqDataclass):
    """The flag, and where TensorBoard's files go."""

    tensorboard_figures: bool = field(
        default=False,
        metadata={
            "help": "at each validation write drift by horizon, the spectrum of the labels and a sample of the RNN to "
            "--tensorboard-logdir too; a second or two"
        },
    )
    tensorboard_logdir: Optional[str] = II("common.tensorboard_logdir")  # noqa: UP045, fairseq knows this form alone


class FiguresTask:
    """Mixin in front of a fairseq task: the first batch of a validation is drawn at its end, by the first process.

    fairseq's writers take scalars only, and TensorBoard reads one file of a folder at a time: ours is in a folder of
    its own beside theirs.
    """

    board = None
    """TensorBoard's writer, once something is to be written."""

    _draws = _waits = False
    """Whether there is something to draw, and whether a validation's first batch is still to come."""
    _sample: dict[str, Any] | None = None

    def set_up_figures(self, cfg: FiguresConfig) -> None:
        """Read the flag; call it from `__init__`."""
        self._asked, self._folder = cfg.tensorboard_figures, cfg.tensorboard_logdir

    def begin_epoch(self, epoch: int, model) -> None:
        super().begin_epoch(epoch, model)
        if not self._asked or distributed.get_global_rank() > 0:
            return
        self._asked = False
        if not hasattr(model, "rnn"):
            logger.warning(f"--tensorboard-figures draws nothing of a {type(model).__name__}, which has no memories.")
        else:
            self._draws = True

    def begin_valid_epoch(self, epoch: int, model) -> None:
        super().begin_valid_epoch(epoch, model)
        self._waits = self._draws

    def valid_step(self, sample, model, criterion, **kwargs):
        if self._waits:
            self._sample, self._waits = sample, False
        return super().valid_step(sample, model, criterion, **kwargs)

    def post_validate(self, model, stats: dict[str, Any], agg) -> None:
        """Draw the first batch of the first --valid-subset; fairseq calls this after each."""
        if self._sample is None:
            return
        sample, self._sample = self._sample, None
        from fairseq_smt.analysis.board import write  # matplotlib takes a second to import

        try:
            if self.board is None:
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(os.path.join(self._folder, "figures"))
            write(self.board, int(stats["num_updates"]), model, self, self.batch_of(sample))
        except OSError as error:
            sentence = unwritable(f"--tensorboard-logdir {self._folder}", error)
            logger.warning(f"{sentence} Training goes on without figures.")
            self._draws = False
