"""The labels that an objective works on, as transitions m_{t-1} → m_t of every position or of a few drawn ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_smt.core.cells import follows_labels
from fairseq_smt.core.errors import require
from fairseq_smt.core.gradient import pass_without_gradient
from fairseq_smt.core.interface import Batch, Modules
from fairseq_smt.core.random import Draws, draw_positions, gather, gather_all


@dataclass
class Transitions:
    """N transitions per block: all T of them, or a few (m_{t-1}, m_t) pairs where every label costs a pass.

    Attributes:
        positions: t, (B, N).
        real: whether t is a real position, (B, N).
        label: m_t, (B, N, K, d).
        before: m_{t-1} of the pairs, (B, N, K, d), with any value at t = 0; None for all positions.
        hidden: the trunk's states of all positions, (B, T, D); None for pairs and for cached labels.
    """

    positions: Tensor
    real: Tensor
    label: Tensor
    before: Tensor | None = None
    hidden: Tensor | None = None

    def source(self, initial: Tensor) -> Tensor:
        """m_{t-1}, and m_∅ (B, K, d) at t = 0: (B, N, K, d)."""
        if self.before is None:
            return torch.cat((initial.to(self.label.dtype)[:, None], self.label[:, :-1]), dim=1)
        return _or_initial(self.positions, initial, self.before)

    def memories(self, initial: Tensor, steps: Tensor | None, *others: Tensor | None) -> list[Tensor]:
        """Memories of drawn transitions, all gathered at once, so that few tensors have the size of all labels.

        Args:
            initial: m_∅, (B, K, d).
            steps: transitions (B, n) whose two sides are wanted, None for all N; where they are pairs, always None.
            others: transitions (B, ·) whose labels are wanted, None for all N.

        Returns:
            m_{t-1} and m_t of `steps`, then m_t of each of the others.
        """
        wanted = [steps, *others]
        drawn = [index for index in wanted if index is not None]
        if steps is not None:
            drawn.insert(0, (steps - 1).clamp(min=0))
        taken = iter(gather_all(self.label, *drawn) if drawn else [])
        source = self.source(initial) if steps is None else _or_initial(steps, initial, next(taken))
        return [source, *(self.label if index is None else next(taken) for index in wanted)]

    def positions_of(self, index: Tensor | None) -> Tensor:
        """t of drawn transitions (B, n), all for None."""
        return self.positions if index is None else gather(self.positions, index)

    def of_block(self, x: Tensor) -> Tensor:
        """Entries of x (B, T, ...) at the transitions' positions, (B, N, ...)."""
        return x if self.before is None else gather(x, self.positions)


def _or_initial(positions: Tensor, initial: Tensor, before: Tensor) -> Tensor:
    """m_{t-1} (B, n, K, d) of positions t (B, n), m_∅ (B, K, d) at t = 0."""
    return torch.where((positions == 0)[..., None, None], initial.to(before.dtype)[:, None], before)


def require_follower(modules: Modules) -> None:
    """Refuse a cell whose memory cannot be a label."""
    name = modules.rnn.sizes.cell
    require(
        follows_labels(modules.rnn.cell),
        f"--cell {name} is a baseline for cross_entropy and chunked_bptt: choose another --cell.",
    )


def labels_of(modules: Modules, batch: Batch) -> Tensor:
    """The labels of every position, (B, T, K, d): those that came with the batch, else the teacher's, no gradient."""
    require_follower(modules)
    if batch.labels is not None:
        return batch.labels.to(modules.rnn.initial.weight.dtype)
    with pass_without_gradient():
        return modules.teacher.labels(batch.inputs, batch.real)


def label_transitions(modules: Modules, batch: Batch, draw: Draws, pairs: int) -> Transitions:
    """Let the teacher label a batch: every position in one pass where it can, else `pairs` drawn transitions.

    A batch that brings its labels has those of every position, and no trunk.
    """
    require_follower(modules)
    teacher = modules.teacher
    if batch.labels is not None or teacher.every_position:
        label, hidden = (labels_of(modules, batch), None) if batch.labels is not None else teacher(batch.inputs)
        time = torch.arange(label.shape[1], device=label.device).expand(label.shape[:2])
        return Transitions(time, batch.real, label, hidden=hidden)
    positions, real = draw_positions(batch.real, draw("dynamics", pairs))
    both = torch.cat(((positions - 1).clamp(min=0), positions), dim=1)
    before, label = teacher.at(batch.inputs, both, batch.real).chunk(2, dim=1)
    return Transitions(positions, real, label, before)
