"""DAgger Memory Training: the RNN on its own memories, held near a frozen teacher's.

    labels m_0..m_{T-1}       one pass of the teacher, without gradient, or out of a cache
    m̂_0..m̂_{T-1}             a rollout of the RNN (core/rollout.py)
    drift       MSE of m̂_t against m_t
    readout     CE of g(m̂_t)

The gradient of either loss may be cut every N positions of the rollout. N = 1 is the paper's: on-policy imitation,
where each memory is regressed from the one before it as it is.
"""

from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fairseq_smt.core import losses
from fairseq_smt.core.depth import Depth, in_chunks, in_sweeps
from fairseq_smt.core.diagnostics import label_variance
from fairseq_smt.core.errors import require, require_not_negative, require_positive
from fairseq_smt.core.gradient import pass_without_gradient
from fairseq_smt.core.interface import Batch, Modules, Terms
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives.validation import score, unroll_and_score
from fairseq_smt.core.random import Draws, gather
from fairseq_smt.core.rollout import Chunks, from_starts, jacobi, warm_starts, with_gradient
from fairseq_smt.core.transitions import labels_of

ROLLOUTS = ("chunked", "sequential", "warm", "jacobi")
CHUNK_LENGTHS = ("fixed", "random", "adaptive")


@dataclass
class DaggerMemoryTraining:
    """The DMT objective; the defaults are the recipe for text."""

    drift_weight: float = field(
        default=0.03, metadata={"help": "coefficient of the drift, the MSE of the RNN's memories against the labels"}
    )
    readout_weight: float = field(
        default=1.0, metadata={"help": "coefficient of the readout's loss on the RNN's memories"}
    )
    rollout: str = field(
        default="chunked",
        metadata={
            "help": "how the RNN runs on its own memories: in chunks from the labels, over the whole block, in chunks "
            "from its own memories of earlier passes, the first of which starts from the labels, or by sweeps over all "
            "positions"
        },
    )
    chunk: int = field(default=16, metadata={"help": "positions per chunk; sweeps with --rollout jacobi"})
    chunk_lengths: str = field(  # an adaptive one is given with each call
        default="fixed",
        metadata={
            "help": "--chunk for every update, drawn from 1 to the length of a block, or grown from --chunk while the "
            "RNN stays near the labels"
        },
    )
    passes: int = field(
        default=1, metadata={"help": "passes without gradient of --rollout warm", "flag": "warm_passes"}
    )
    drift_backprop: int = field(
        default=16, metadata={"help": "positions through which the drift's gradient goes; 1: one call of the cell"}
    )
    ce_backprop: int = field(
        default=16,
        metadata={"help": "positions through which the readout's gradient goes; 0: it trains the readout alone"},
    )
    horizon: int = field(
        default=128,
        metadata={"help": "T, length of a full block, up to which drift is reported", "flag": "tokens_per_sample"},
    )
    seed: int = field(default=1, metadata={"help": "of chunk lengths and offsets"})

    def __post_init__(self) -> None:
        require(self.rollout in ROLLOUTS, f"--rollout {self.rollout} is unknown; choose one of {', '.join(ROLLOUTS)}.")
        require(
            self.chunk_lengths in CHUNK_LENGTHS,
            f"--chunk-lengths {self.chunk_lengths} is unknown; choose one of {', '.join(CHUNK_LENGTHS)}.",
        )
        require_positive(chunk=self.chunk, drift_backprop=self.drift_backprop)
        require_not_negative(drift_weight=self.drift_weight, readout_weight=self.readout_weight)
        require_not_negative(ce_backprop=self.ce_backprop, warm_passes=self.passes)

    def __call__(
        self, modules: Modules, batch: Batch, *, update: int = 0, chunk: int | None = None, training: bool = True
    ) -> Terms:
        """The loss of a batch, a float32 mean over it, with its terms in nats.

        Args:
            update: keys the draws; the same update gives the same chunks in every process.
            chunk: C of this update, when it is adaptive.
            training: False also scores the readout on the labels, and the RNN unrolled from m_∅.
        """
        rnn = modules.rnn
        terms = Terms(loss=torch.zeros((), device=batch.inputs.device))
        labels = labels_of(modules, batch)
        size, offset = self.chunk_at(update, labels.shape[1], chunk)
        for_drift, for_readout = self._roll(rnn, batch, labels, size, offset)
        terms.depth = self.depth(labels.shape[1], size, offset)

        drift = terms.add("rollout_drift", *losses.dynamics(for_drift, labels, batch.real))
        readout = score(terms, "rollout", rnn.readout, for_readout, batch.targets, batch.asked)
        terms.loss = self.drift_weight * drift + self.readout_weight * readout
        real = batch.real.sum()
        terms.add_mean("label_variance", label_variance(labels, batch.real), real)
        terms.add_mean("chunk_length", torch.full_like(terms.loss, size), real)
        if not training:
            with pass_without_gradient():
                score(terms, "ceiling", rnn.readout, labels, batch.targets, batch.scored)
            unroll_and_score(modules, batch, terms, self.horizon, lambda t: gather(labels, t))
        return terms

    def chunk_at(self, update: int, length: int, adapted: int | None = None) -> tuple[int, int]:
        """C (sweeps of jacobi) and offset of an update's chunks; `sequential` has one, of the batch's `length`."""
        if self.rollout == "sequential":
            return max(length, 1), 0
        drawn, where = Draws(self.seed, update, torch.zeros(1)).shared("chunk", 2)
        chunk = adapted or (1 + int(drawn * self.horizon) if self.chunk_lengths == "random" else self.chunk)
        return chunk, int(where * chunk)

    def depth(self, length: int, size: int, offset: int) -> Depth:
        """That of a batch of T = `length`, whose chunks or sweeps are those of `chunk_at`."""
        if self.rollout == "jacobi":
            return in_sweeps(size, self._cuts(size))
        chunks = Chunks(length, size, offset)
        passes = self.passes if self.rollout == "warm" and chunks.number > 1 else 0
        return in_chunks(chunks.size, self._cuts(chunks.size), passes)

    def _cuts(self, size: int) -> set[int]:
        """Positions, or sweeps, through which gradients go."""
        return {min(n, size) for n in (self.drift_backprop, self.ce_backprop)}

    def _roll(
        self, rnn: RecurrentLanguageModel, batch: Batch, labels: Tensor, size: int, offset: int
    ) -> tuple[Tensor, Tensor]:
        """The RNN's memories twice, (B, T, K, d): with the gradient for the drift, and for the readout."""
        cell, initial = rnn.cell, rnn.initial(len(labels))
        if self.rollout == "jacobi":
            inputs = cell.inputs(batch.inputs)
            cuts = [min(n, size) for n in (self.drift_backprop, self.ce_backprop)]
            swept = {n: jacobi(cell, initial, labels, inputs, size, without_gradient=size - n) for n in set(cuts) - {0}}
            swept[0] = swept[cuts[0]].detach()
            return swept[cuts[0]], swept[cuts[1]]
        chunks = Chunks(labels.shape[1], size, offset)
        pieces = cell.inputs(chunks.split(batch.inputs))
        starts = chunks.before(initial, labels)
        if self.rollout == "warm":
            starts = warm_starts(cell, starts, pieces, chunks, self.passes)
        cuts = self._cuts(chunks.size)
        with nullcontext() if chunks.size in cuts else pass_without_gradient():
            memories = from_starts(cell, starts, pieces, chunks)
        cut = {n: with_gradient(cell, starts, memories, pieces, chunks, n) for n in cuts - {0, chunks.size}}
        cut |= {0: memories.detach(), chunks.size: memories}
        return tuple(cut[min(n, chunks.size)] for n in (self.drift_backprop, self.ce_backprop))
