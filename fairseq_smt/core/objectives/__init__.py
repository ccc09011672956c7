"""Objectives: modules and a batch in, a loss and its named measures out. One is one call of the model."""

from fairseq_smt.core.objectives.chunked_bptt import ChunkedBackpropagation
from fairseq_smt.core.objectives.dmt import CHUNK_LENGTHS, ROLLOUTS, DaggerMemoryTraining
from fairseq_smt.core.objectives.smt import DETACH, SupervisedMemoryTraining

__all__ = [
    "CHUNK_LENGTHS",
    "DETACH",
    "ROLLOUTS",
    "ChunkedBackpropagation",
    "DaggerMemoryTraining",
    "SupervisedMemoryTraining",
]
