"""Chunk-parallel truncated backpropagation through time: CE on the RNN's own memories, without a teacher.

Chunks run side by side from the memories of an earlier pass without gradient (`rollout.warm`), so that the sequential
depth is (passes + 1) · C instead of T. A chunk as long as the block makes it BPTT: the block is then never cut.
"""

from dataclasses import dataclass

import torch

from fairseq_smt.core.batch import Batch, Draws, Modules, Terms
from fairseq_smt.core.errors import require_not_negative, require_positive
from fairseq_smt.core.objectives.own_memories import score, unroll_and_score
from fairseq_smt.core.rollout import warm


@dataclass
class ChunkedBackpropagation:
    """The objective of criterion `chunked_bptt`.

    Attributes:
        chunk: C, positions per chunk; chunks begin at a random offset, drawn anew for every update.
        passes: passes without gradient before the one with it; 0 starts every chunk from m_∅.
        horizon: T, length of a full block, whatever shorter ones a micro-batch holds, so that all are cut alike; a bos
            is not counted. 0: that of the batch. C ≥ T unrolls whole blocks from m_∅.
        seed: of the offsets.
    """

    chunk: int = 16
    passes: int = 1
    horizon: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        require_positive(chunk=self.chunk)
        require_not_negative(warm_passes=self.passes)

    def __call__(self, modules: Modules, batch: Batch, *, update: int = 0, training: bool = True) -> Terms:
        """The loss of a batch, a float32 mean over its targets, with its terms in nats."""
        rnn = modules.rnn
        terms = Terms(loss=torch.zeros((), device=batch.inputs.device))
        if self.chunk >= (self.horizon or batch.inputs.shape[1]):
            memories = rnn.unroll(batch.inputs)
        else:
            (where,) = Draws(self.seed, update, batch.ids).shared("chunk", 1)
            initial, inputs = rnn.initial(len(batch.inputs)), rnn.cell.inputs(batch.inputs)
            memories = warm(rnn.cell, initial, inputs, self.chunk, int(where * self.chunk), self.passes)
        terms.loss = score(terms, "rollout", rnn.readout, memories, batch.targets, batch.asked)
        if not training:
            unroll_and_score(modules, batch, terms)
        return terms
