"""What validation says of the RNN: unrolled from m_∅ on its own memories, whatever it was trained by."""

from collections.abc import Callable

import torch
from torch import Tensor

from fairseq_smt.core import losses
from fairseq_smt.core.decoding import decode
from fairseq_smt.core.diagnostics import horizons
from fairseq_smt.core.gradient import pass_without_gradient
from fairseq_smt.core.interface import Batch, Modules, Terms
from fairseq_smt.core.random import gather
from fairseq_smt.core.readout import Readout


def score(
    terms: Terms,
    name: str,
    readout: Readout,
    memory: Tensor,
    targets: Tensor,
    asked: Tensor,
    scored: Tensor | None = None,
) -> Tensor:
    """Read memories (..., K, d) out: note `name`_nll and `name`_accuracy, and return the mean CE of what was asked.

    Args:
        targets: (...).
        asked: targets that the returned mean covers, (...), bool.
        scored: those of them that count in what is noted, (...), bool; all unless given.
    """
    total, nll, predicted = decode(readout.out, readout.features(memory), targets, asked, predict=True)
    counted = asked if scored is None else asked & scored
    number = counted.sum()
    terms.add(f"{name}_nll", (nll * counted).sum(), number)
    terms.add(f"{name}_accuracy", ((predicted == targets) & counted).sum(), number)
    return losses.mean_of(total, asked.sum())


@pass_without_gradient()
def unroll_and_score(
    modules: Modules, batch: Batch, terms: Terms, horizon: int = 0, labels_at: Callable[[Tensor], Tensor] | None = None
) -> None:
    """Note the RNN's loss and accuracy, and its drift after 1, 4, 16, … steps.

    Args:
        horizon: block length up to which drift is reported.
        labels_at: labels (B, n, K, d) at positions (B, n); without it there is no drift.
    """
    memories = modules.rnn.unroll(batch.inputs, batch.first_memory(modules.rnn))
    batch.carry(memories)
    score(terms, "rnn", modules.rnn.readout, memories, batch.targets, batch.scored)
    if labels_at is None:
        return
    steps = horizons(horizon)
    inside = [h for h in steps if h <= batch.inputs.shape[1]]
    t = (torch.tensor(inside, device=memories.device, dtype=torch.long) - 1).expand(len(memories), -1)
    real = gather(batch.real, t)
    error = losses.squared_error(gather(memories, t), labels_at(t)) * real
    for i, h in enumerate(steps):
        if i < len(inside):
            terms.add(f"drift_{h}", error[:, i].sum(), real[:, i].sum())
        else:
            terms.skip(f"drift_{h}")
