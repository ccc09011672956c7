"""Measures of memories, and of how an RNN and its teacher behave along a block."""

from fairseq_smt.core.diagnostics.geometry import PrincipalAxes
from fairseq_smt.core.diagnostics.gradients import label_gradients, unrolled_gradients
from fairseq_smt.core.diagnostics.labels import effective_rank, label_variance, spectrum
from fairseq_smt.core.diagnostics.positions import drift_by_horizon, horizons, loss_by_position

__all__ = [
    "PrincipalAxes",
    "drift_by_horizon",
    "effective_rank",
    "horizons",
    "label_gradients",
    "label_variance",
    "loss_by_position",
    "spectrum",
    "unrolled_gradients",
]
