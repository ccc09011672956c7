"""Supervised Memory Training: tokens in, named loss terms out.

One objective is one call on the core modules, so that a data-parallel wrapper sees every gradient:

    labels m_0..m_{T-1} = E(x)                          one pass of the teacher
    future      CE of D(m_t, inputs after t)            makes m_t a predictive state
    readout     CE of g(m_t)                            the ceiling: the score of an RNN that follows the labels exactly
    trunk       CE of the trunk's own head              speeds the trunk up
    dynamics    MSE of f(m_{t-1}, x_t) against m_t      trains the cell one step at a time, m_∅ → m_0 included
    uniformity                                          keeps the memories apart
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_smt.core import losses
from fairseq_smt.core.batch import Batch, Draws, Modules, Terms
from fairseq_smt.core.diagnostics import effective_rank, horizons, label_variance
from fairseq_smt.core.errors import require, require_positive
from fairseq_smt.core.random import draw_positions, take

DETACH = ("none", "source", "target", "both")


@dataclass
class SupervisedMemoryTraining:
    """The SMT objective.

    Attributes:
        future_weight, readout_weight, trunk_weight, dynamics_weight, uniformity_weight: coefficients.
        pursuit_weight: coefficient of the asymmetric dynamics loss, whose label is detached (`losses.pursuit`).
        future_positions: positions t per block whose future is predicted.
        readout_positions: positions per block at which the readout is trained.
        dynamics_positions: transitions per block; 0 for all of them.
        uniformity_tokens: memory tokens in the uniformity loss.
        detach: side of the symmetric dynamics loss that gets no gradient.
        horizon: block length up to which drift is reported.
        diagnostics_interval: updates between two measurements of effective rank and of shuffled memories.
        seed: of the position draws.
    """

    future_weight: float = 0.5
    readout_weight: float = 0.5
    trunk_weight: float = 1.0
    dynamics_weight: float = 0.1
    pursuit_weight: float = 0.0
    uniformity_weight: float = 0.001
    future_positions: int = 4
    readout_positions: int = 16
    dynamics_positions: int = 32
    uniformity_tokens: int = 512
    detach: str = "none"
    horizon: int = 128
    diagnostics_interval: int = 10
    seed: int = 1

    def __post_init__(self) -> None:
        require(
            self.detach in DETACH, f"--dynamics-detach {self.detach} is unknown; choose one of {', '.join(DETACH)}."
        )
        positive = ("future_positions", "readout_positions", "uniformity_tokens", "diagnostics_interval")
        require_positive(**{name: getattr(self, name) for name in positive})
        require(self.dynamics_positions >= 0, "--dynamics-positions must not be negative; 0 means every position.")

    def __call__(
        self, modules: Modules, batch: Batch, *, update: int = 0, ramp: float = 1.0, training: bool = True
    ) -> Terms:
        """The loss of a batch, a float32 mean over it, with its terms in nats.

        Args:
            update: keys the draws; the same update and sample ids give the same positions in every process.
            ramp: factor on the two dynamics losses.
            training: False scores the readout at every position, and unrolls the RNN from m_∅ to score it too.
        """
        draw = Draws(self.seed, update, batch.ids)
        measured = not training or update % self.diagnostics_interval == 0
        labels, hidden = modules.teacher(batch.inputs)
        terms = Terms(loss=torch.zeros((), device=labels.device))

        trunk_logits = modules.teacher.language_model_head(hidden)
        trunk = terms.add("trunk_nll", *losses.cross_entropy(trunk_logits, batch.targets, batch.asked))
        future = self._future(modules, batch, labels, draw, terms, measured)
        readout = self._readout(modules, batch, labels, draw, terms, training)
        terms.loss = self.trunk_weight * trunk + self.future_weight * future + self.readout_weight * readout

        label, mask = self._dynamics(modules, batch, labels, draw, terms, ramp)
        spread = losses.uniformity(self._draw_tokens(label, mask, draw))
        terms.loss = terms.loss + self.uniformity_weight * terms.add_mean("uniformity", spread, mask.sum())

        terms.add_mean("label_variance", label_variance(labels, batch.real), batch.real.sum())
        if measured:
            terms.add_mean("effective_rank", effective_rank(label[mask][:512]), mask.sum())
        else:
            terms.skip("effective_rank")
        if not training:
            self._own_memories(modules, batch, labels, terms)
        return terms

    def _future(
        self, modules: Modules, batch: Batch, labels: Tensor, draw: Draws, terms: Terms, measured: bool
    ) -> Tensor:
        """Decoding loss of the future predictor; when measured, also with the memories of another sequence."""
        future = modules.future
        t, eligible = future.positions(batch.real, batch.asked, draw("future", self.future_positions))
        s, mask = future.targets_for(t, batch.asked, draw("future target", self.future_positions * future.futures))
        mask = mask & eligible[..., None]
        targets = take(batch.targets, s)
        memory = take(labels, t)
        logits = future(memory, batch.inputs, t, s)
        if measured and len(labels) > 1:
            with torch.no_grad():
                shuffled = future(memory.roll(1, dims=0), batch.inputs, t, s)
            terms.add("shuffled_nll", *losses.cross_entropy(shuffled, targets, mask))
        else:
            terms.skip("shuffled_nll")
        return terms.add("future_nll", *losses.cross_entropy(logits, targets, mask))

    def _readout(
        self, modules: Modules, batch: Batch, labels: Tensor, draw: Draws, terms: Terms, training: bool
    ) -> Tensor:
        """CE of the readout on labels, at drawn positions in training and at all of them otherwise."""
        memory, targets, scored, mask = labels, batch.targets, batch.scored, batch.asked
        if training:
            positions, mask = draw_positions(batch.asked, draw("readout", self.readout_positions))
            memory, targets, scored = (take(x, positions) for x in (memory, targets, scored))
        logits = modules.rnn.readout(memory)
        terms.add("ceiling_nll", *losses.cross_entropy(logits, targets, mask & scored))
        correct = (logits.argmax(-1) == targets) & mask & scored
        terms.add("ceiling_accuracy", correct.sum(), (mask & scored).sum())
        return losses.mean_of(*losses.cross_entropy(logits, targets, mask))

    def _dynamics(
        self, modules: Modules, batch: Batch, labels: Tensor, draw: Draws, terms: Terms, ramp: float
    ) -> tuple[Tensor, Tensor]:
        """Add the dynamics losses of drawn transitions; return their labels (B, n, K, d) and which are real (B, n)."""
        if self.dynamics_positions:
            positions, mask = draw_positions(batch.real, draw("dynamics", self.dynamics_positions))
        else:
            positions = torch.arange(labels.shape[1], device=labels.device).expand(labels.shape[:2])
            mask = batch.real
        label = take(labels, positions)
        initial = modules.rnn.initial(len(labels)).to(labels.dtype)
        source = take(torch.cat((initial[:, None], labels[:, :-1]), dim=1), positions)
        target = label.detach() if self.detach in ("target", "both") else label
        if self.detach in ("source", "both"):  # m_∅ belongs to the RNN and is trained all the same
            source = torch.where((positions == 0)[..., None, None], source, source.detach())
        cell = modules.rnn.cell
        inputs = cell.inputs(take(batch.inputs, positions))
        prediction = cell(source.flatten(0, 1), inputs.flatten(0, 1)).view_as(label)
        symmetric = terms.add("dynamics", *losses.dynamics(prediction, target, mask))
        loss = self.dynamics_weight * symmetric
        if self.pursuit_weight:
            loss = loss + self.pursuit_weight * losses.pursuit(prediction, label, mask)
        terms.loss = terms.loss + ramp * loss
        return label, mask

    def _draw_tokens(self, label: Tensor, mask: Tensor, draw: Draws) -> Tensor:
        """Memory tokens for the uniformity loss, drawn from all sequences, positions and slots: (N, d)."""
        keys = draw("uniformity", label.shape[1] * label.shape[2]).view(label.shape[:3])
        keys = keys.masked_fill(~mask[..., None], 2.0).flatten()
        number = min(self.uniformity_tokens, int(mask.sum()) * label.shape[2])
        return label.flatten(0, 2)[keys.topk(number, largest=False).indices]

    @torch.no_grad()
    def _own_memories(self, modules: Modules, batch: Batch, labels: Tensor, terms: Terms) -> None:
        """Unroll the RNN from m_∅: its loss, its accuracy, and its drift after 1, 4, 16, … steps."""
        memories = modules.rnn.unroll(batch.inputs)
        logits = modules.rnn.readout(memories)
        terms.add("rnn_nll", *losses.cross_entropy(logits, batch.targets, batch.scored))
        correct = (logits.argmax(-1) == batch.targets) & batch.scored
        terms.add("rnn_accuracy", correct.sum(), batch.scored.sum())
        error = losses.squared_error(memories, labels)
        for h in horizons(self.horizon):
            real = batch.real[:, h - 1 : h]
            terms.add(f"drift_{h}", (error[:, h - 1 : h] * real).sum(), real.sum())
