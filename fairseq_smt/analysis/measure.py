"""What fairseq-smt-diagnose measures of one checkpoint."""

import logging
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fairseq_smt.analysis.loading import Checkpoint, modules_of
from fairseq_smt.core.configs import from_flags
from fairseq_smt.core.diagnostics import (
    PrincipalAxes,
    drift_by_horizon,
    label_gradients,
    label_variance,
    loss_by_position,
    unrolled_gradients,
)
from fairseq_smt.core.interface import Batch
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from fairseq_smt.core.transitions import labels_of
from fairseq_smt.criterions.objective import BITS
from fairseq_smt.errors import ConfigurationError, require

logger = logging.getLogger("fairseq_smt.cli.diagnose")

POINTS = 2048
"""Memories in a picture of the memory space."""

LENGTHS = (0.25, 0.5, 1, 1.5, 2, 3, 4)
"""Lengths of a probe's sequences at which its loss is measured, in training lengths."""


@dataclass
class Geometry:
    """Memories in two dimensions: labels (n, 2) or None, the RNN's own (n, 2), and the positions of both, (n,)."""

    labels: Tensor | None
    own: Tensor
    positions: Tensor


@dataclass
class Measured:
    """A checkpoint's part of the report, and the points of its picture."""

    name: str
    report: dict[str, Any] = field(default_factory=dict)
    geometry: Geometry | None = None


def measure(checkpoint: Checkpoint, split: str, sequences: int, batch_size: int) -> Measured:
    """Gradient norms, drift, loss by position and memory geometry, on the same blocks at every call."""
    has_teacher = checkpoint.model.teacher is not None
    batches = list(checkpoint.batches(split, checkpoint.length, sequences, batch_size))
    found = Measured(checkpoint.name)
    found.report = {
        "path": checkpoint.path,
        "criterion": str(checkpoint.cfg.criterion._name),
        "updates": int(checkpoint.model.num_updates),
        "training_length": checkpoint.length,
        "sequences": sum(len(batch.inputs) for batch in batches),
    }
    found.report["geometry"], found.geometry = geometry(checkpoint, batches)
    found.report["gradients"] = gradients(checkpoint, batches)
    if has_teacher:
        found.report["drift"] = drift(checkpoint, batches)
    else:
        logger.info(f"{checkpoint.name} has no teacher: no gradients of SMT, no drift, no labels, no ceiling")
    found.report["loss"] = loss(checkpoint, split, sequences, batch_size)
    return found


def objective_of(checkpoint: Checkpoint) -> SupervisedMemoryTraining:
    """The SMT objective with the coefficients of the checkpoint's training, or the defaults after another criterion."""
    trained = checkpoint.cfg.criterion
    if trained._name == "smt":
        return from_flags(SupervisedMemoryTraining, trained)
    return SupervisedMemoryTraining(horizon=checkpoint.length)


def gradients(checkpoint: Checkpoint, batches: list[Batch]) -> dict[str, Any]:
    """‖∂L/∂m_t‖, mean over the sequences that reach position t, at initialisation and as trained, per method."""
    objective = objective_of(checkpoint)
    report: dict[str, Any] = {"bptt": {}}
    if checkpoint.model.teacher is not None:
        names = ("future_weight", "readout_weight", "dynamics_weight", "pursuit_weight", "detach")
        report["smt"] = {"coefficients": {name: getattr(objective, name) for name in names}}
    models = {"initialisation": checkpoint.at_initialisation(), "trained": checkpoint.model}
    for when, model in models.items():
        modules = modules_of(model)
        report["bptt"][when] = _norms([(unrolled_gradients(modules.rnn, b), b.real) for b in batches])
        if modules.teacher is not None:
            norms = [(label_gradients(modules, b, labels_of(modules, b), objective), b.real) for b in batches]
            report["smt"][when] = _norms(norms)
    return report


def _norms(parts: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Norms (B, T) of several batches → their mean by position, and how far that varies."""
    mean = _ratio(*_sum([(norm.double() * real).sum(0) for norm, real in parts], [r.sum(0) for _, r in parts]))
    shares = torch.tensor([0.05, 0.95], dtype=torch.float64)
    low, high = torch.tensor(mean, dtype=torch.float64).quantile(shares).tolist()
    return {
        "norm": mean,
        "max": max(mean),
        "min": min(mean),
        "max_over_min": _over(max(mean), min(mean)),
        "percentile_95_over_5": _over(high, low),
    }


def _over(high: float, low: float) -> float | None:
    """A ratio, None where it is infinite or cannot be told."""
    return high / low if low > 0 and math.isfinite(high / low) else None


def drift(checkpoint: Checkpoint, batches: list[Batch]) -> dict[str, Any]:
    """The RNN's drift after 1, 2, …, T steps from m_∅, over the label variance."""
    modules, errors, counts, labels, real = checkpoint.modules, [], [], [], []
    for batch in batches:
        labels.append(labels_of(modules, batch))
        real.append(batch.real)
        error, count = drift_by_horizon(own_memories(checkpoint, batch), labels[-1], batch.real)
        errors.append(error)
        counts.append(count)
    longest = max(r.shape[1] for r in real)
    variance = float(label_variance(_rows(labels, longest), _rows(real, longest)))
    error = _ratio(*_sum(errors, counts))
    return {"label_variance": variance, "over_variance": [e / variance for e in error] if variance > 0 else None}


def loss(checkpoint: Checkpoint, split: str, sequences: int, batch_size: int) -> dict[str, Any]:
    """Loss in bits against position, in blocks of up to four training lengths; for a probe, against its length.

    A probe asks at few positions, and more or later ones in a longer sequence: its loss is that of whole sequences.
    """
    if checkpoint.is_probe:
        return _loss_by_length(checkpoint, split, sequences, batch_size)
    sums = losses_by_position(checkpoint, split, 4 * checkpoint.length, sequences, batch_size)
    asked = [i for i, n in enumerate(sums["targets"]) if n]
    report = {"against": "position", "x": asked, "targets": [int(sums["targets"][i]) for i in asked]}
    parts = [[i for i in asked if (i - asked[0]) // checkpoint.length == k] for k in range(4)]
    for who in ("rnn", "ceiling"):
        if who not in sums:
            continue
        report[f"{who}_bits"] = [sums[who][i] / sums["targets"][i] for i in asked]
        report[f"{who}_bits_by_training_length"] = [
            sum(sums[who][i] for i in part) / sum(sums["targets"][i] for i in part) for part in parts if part
        ]
    return report


def _loss_by_length(checkpoint: Checkpoint, split: str, sequences: int, batch_size: int) -> dict[str, Any]:
    report: dict[str, Any] = {"against": "length", "x": [], "targets": []}
    for length in sorted({max(1, int(checkpoint.length * factor)) for factor in LENGTHS}):
        try:
            sums = losses_by_position(checkpoint, split, length, sequences, batch_size)
        except ConfigurationError as error:
            logger.info(f"{checkpoint.name}: no loss at length {length}: {error}")
            continue
        count = sum(sums["targets"])
        report["x"].append(length)
        report["targets"].append(int(count))
        for who in ("rnn", "ceiling"):
            if who in sums:
                report.setdefault(f"{who}_bits", []).append(sum(sums[who]) / count)
    return report


@torch.no_grad()
def losses_by_position(
    checkpoint: Checkpoint, split: str, length: int, sequences: int, batch_size: int
) -> dict[str, list[float]]:
    """Sums by position, in bits, of the RNN's loss and the ceiling, and the numbers of targets."""
    modules, parts = checkpoint.modules, []
    for batch in checkpoint.batches(split, length, sequences, batch_size):
        scored = (batch.targets, batch.scored)
        total, count = loss_by_position(modules.rnn.readout(own_memories(checkpoint, batch)), *scored)
        parts.append({"rnn": total * BITS, "targets": count})
        if modules.teacher is not None:
            logits = modules.rnn.readout(labels_of(modules, batch))
            parts[-1]["ceiling"] = loss_by_position(logits, *scored)[0] * BITS
    return {name: _sum([part[name] for part in parts])[0].tolist() for name in parts[0]}


def geometry(checkpoint: Checkpoint, batches: list[Batch]) -> tuple[dict[str, Any], Geometry]:
    """Labels and the RNN's own memories on the two principal axes of the labels, or of the latter without a teacher."""
    labels, own, positions = [], [], []
    for batch in batches:
        time = torch.arange(batch.inputs.shape[1], device=batch.inputs.device).expand_as(batch.inputs)
        positions.append(time[batch.real])
        own.append(own_memories(checkpoint, batch)[batch.real])
        if checkpoint.model.teacher is not None:
            labels.append(labels_of(checkpoint.modules, batch)[batch.real])
        if sum(len(rows) for rows in own) >= POINTS:
            break
    own, positions = torch.cat(own)[:POINTS], torch.cat(positions)[:POINTS]
    fitted = torch.cat(labels)[:POINTS] if labels else own
    axes = PrincipalAxes.of(fitted)
    report = {
        "axes_of": "labels" if labels else "own memories",
        "memories": len(own),
        "explained": axes.explained.tolist(),
        "explained_of_own_memories": axes.explained_of(own).tolist(),
    }
    points = axes.project(fitted).cpu() if labels else None
    return report, Geometry(points, axes.project(own).cpu(), positions.cpu())


@torch.no_grad()
def own_memories(checkpoint: Checkpoint, batch: Batch) -> Tensor:
    """m̂_t of the RNN unrolled from m_∅: (B, T, K, d).

    Raises:
        ConfigurationError: when one is not finite.
    """
    memories = checkpoint.model.rnn.unroll(batch.inputs)
    require(
        bool(memories.isfinite().all()),
        f"the memories of {checkpoint.path} are not finite: its training has diverged, name an earlier checkpoint.",
    )
    return memories


def _rows(parts: list[Tensor], length: int) -> Tensor:
    """Batches (B, T, …) of unequal T as one, zero where they are shorter."""
    padded = [torch.cat((p, p.new_zeros(len(p), length - p.shape[1], *p.shape[2:])), dim=1) for p in parts]
    return torch.cat(padded)


def _sum(*columns: list[Tensor]) -> list[Tensor]:
    """Sums over batches of tensors (T,) of unequal length."""
    longest = max(len(x) for x in columns[0])
    return [sum(torch.nn.functional.pad(x.double(), (0, longest - len(x))) for x in parts) for parts in columns]


def _ratio(total: Tensor, count: Tensor) -> list[float]:
    """Means by position, of those positions that any sequence reaches (they come first)."""
    return (total / count)[count > 0].tolist()
