"""What goes into an objective and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fairseq_smt.core import losses
from fairseq_smt.core.carried import Carried
from fairseq_smt.core.depth import AT_ONCE, Depth
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.teacher import CausalTeacher, WindowTeacher


@dataclass
class Modules:
    """What an objective works on; `teacher` and `future` are None for an RNN that stands alone."""

    rnn: RecurrentLanguageModel
    teacher: CausalTeacher | WindowTeacher | None = None
    future: nn.Module | None = None


@dataclass
class Batch:
    """A batch of blocks, padded on the right.

    Attributes:
        inputs: tokens x, (B, T).
        targets: tokens y, (B, T).
        real: whether a position is not padding, (B, T).
        asked: whether y_t is a target, (B, T); only real positions are asked.
        ids: sample ids, (B,).
        scored: targets that count in reported scores of the readout, (B, T); all that are asked unless given.
        labels: cached labels m_t, (B, T, K, d), any value at padding; objectives then leave the teacher alone.
        carried: the streams whose memory the rows go on from and leave behind; all rows start from m_∅ unless given.
    """

    inputs: Tensor
    targets: Tensor
    real: Tensor
    asked: Tensor
    ids: Tensor
    scored: Tensor | None = None
    labels: Tensor | None = None
    carried: Carried | None = None

    def __post_init__(self) -> None:
        if self.scored is None:
            self.scored = self.asked

    def first_memory(self, rnn: RecurrentLanguageModel) -> Tensor:
        """The memory before the first input of each row, (B, K, d)."""
        initial = rnn.initial(len(self.inputs))
        return initial if self.carried is None else self.carried.start(initial)

    def carry(self, memories: Tensor) -> None:
        """Keep the last of the RNN's own memories (B, T, K, d) for the blocks that follow."""
        if self.carried is not None:
            rows = torch.arange(len(memories), device=memories.device)
            self.carried.keep(memories[rows, self.real.sum(1) - 1])


@dataclass
class Terms:
    """A loss, and the measures behind it as (sum, count), so that they add up over micro-batches and processes.

    `depth` is that of the loss and its gradient in training.
    """

    loss: Tensor
    measures: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    depth: Depth = AT_ONCE

    def add(self, name: str, total: Tensor, count: Tensor) -> Tensor:
        """Note a sum over `count` entries and return its mean, zero where nothing was counted."""
        self.measures[name] = (total.detach(), count)
        return losses.mean_of(total, count)

    def add_mean(self, name: str, mean: Tensor, count: Tensor) -> Tensor:
        """Note and return a mean that stands for `count` entries."""
        self.measures[name] = (mean.detach() * count, count)
        return mean

    def skip(self, name: str) -> None:
        """Note that a measure was not taken this time: every micro-batch reports the same names."""
        zero = torch.zeros((), device=self.loss.device)
        self.measures[name] = (zero, zero)


def on_host(logs: Sequence[Mapping[str, Tensor | float]]) -> dict[str, int | float]:
    """Sums of logged scalars over micro-batches, which all log the same names; the device is read once for all."""
    totals = {name: sum(log[name] for log in logs) for name in logs[0]}
    tensors = {name: total.double() for name, total in totals.items() if isinstance(total, Tensor)}
    read = torch.stack(list(tensors.values())).tolist() if tensors else []
    return totals | dict(zip(tensors, read, strict=True))
