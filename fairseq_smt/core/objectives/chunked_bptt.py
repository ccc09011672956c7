"""Chunk-parallel truncated backpropagation through time: CE on the RNN's own memories, without a teacher.

Chunks run side by side from the memories of an earlier pass without gradient (`rollout.warm`), so that the sequential
depth is (passes + 1) · C instead of T. A chunk as long as the block makes it BPTT: the block is then never cut.
"""

from dataclasses import dataclass, field

import torch

from fairseq_smt.core.depth import Depth, in_chunks, through_time
from fairseq_smt.core.errors import require_not_negative, require_positive
from fairseq_smt.core.interface import Batch, Modules, Terms
from fairseq_smt.core.objectives.validation import score, unroll_and_score
from fairseq_smt.core.random import Draws
from fairseq_smt.core.rollout import Chunks, from_starts, warm_starts


@dataclass
class ChunkedBackpropagation:
    """The objective of criterion `chunked_bptt`; chunks begin at a random offset, drawn anew for every update.

    All micro-batches are cut by the same `horizon`, whatever shorter blocks they hold; a bos is not counted.

    Blocks that carry memory start from what the rollout before ended with, without a gradient.
    """

    chunk: int = field(
        default=16,
        metadata={
            "help": "positions per chunk, through which the gradient goes; --tokens-per-sample or more: the whole block"
        },
    )
    passes: int = field(
        default=1,
        metadata={
            "help": "passes without gradient that give the chunks their first memories; 0: the initial memory",
            "flag": "warm_passes",
        },
    )
    horizon: int = field(
        default=0, metadata={"help": "T, length of a full block; 0: the batch's", "flag": "tokens_per_sample"}
    )
    seed: int = field(default=1, metadata={"help": "of the offsets"})

    def __post_init__(self) -> None:
        require_positive(chunk=self.chunk)
        require_not_negative(warm_passes=self.passes)

    def __call__(self, modules: Modules, batch: Batch, *, update: int = 0, training: bool = True) -> Terms:
        """The loss of a batch, a float32 mean over its targets, with its terms in nats."""
        rnn = modules.rnn
        initial = batch.first_memory(rnn)
        terms = Terms(loss=torch.zeros((), device=batch.inputs.device))
        if self.chunk >= (self.horizon or batch.inputs.shape[1]):
            memories = rnn.unroll(batch.inputs, initial)
            terms.depth = through_time(batch.inputs.shape[1])
        else:
            (where,) = Draws(self.seed, update, batch.ids).shared("chunk", 1)
            chunks = Chunks(batch.inputs.shape[1], self.chunk, int(where * self.chunk))
            pieces = rnn.cell.inputs(chunks.split(batch.inputs))
            starts = warm_starts(rnn.cell, chunks.afresh(initial), pieces, chunks, self.passes)
            memories = from_starts(rnn.cell, starts, pieces, chunks)
            terms.depth = self.depth(chunks)
        terms.loss = score(terms, "rollout", rnn.readout, memories, batch.targets, batch.asked)
        if training:
            batch.carry(memories)
        else:
            unroll_and_score(modules, batch, terms)
        return terms

    def depth(self, chunks: Chunks) -> Depth:
        """That of a batch in more than one chunk, or in one."""
        return in_chunks(chunks.size, {chunks.size}, self.passes if chunks.number > 1 else 0)
