"""What --tensorboard-figures writes of a validation's first batch: drift by horizon, spectra, and a sample."""

from dataclasses import replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from fairseq_smt.analysis.figures import BESIDE, figure_of, image_grid
from fairseq_smt.analysis.samples import Continuation, completions, continue_texts, pixel_format, text_of
from fairseq_smt.core.cells import follows_labels
from fairseq_smt.core.diagnostics import drift_by_horizon, effective_rank, label_variance, spectrum
from fairseq_smt.core.interface import Batch
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.random import gather

BLOCKS, IMAGES = 32, 8
"""Blocks measured, and images completed."""
LABELS = 256
"""Labels that a teacher makes which needs a pass for each."""
PROMPT, LENGTH = 48, 200
"""Symbols of the sample text."""


@torch.no_grad()
def write(board: Any, update: int, model: Any, task: Any, batch: Batch) -> None:
    """Write the figures and the sample of an update.

    Args:
        board: a `SummaryWriter`.
        model: of class `SmtLanguageModel`, in evaluation mode.
        task: of its training.
    """
    batch = first_rows(batch, BLOCKS)
    rnn = model.rnn
    memories = rnn.unroll(batch.inputs).float()
    spectra = {"the RNN's own memories": memories[batch.real]}
    if follows_labels(rnn.cell) and (batch.labels is not None or model.teacher is not None):
        positions, labels = labels_at(model.teacher, batch)
        real = gather(batch.real, positions)
        board.add_figure("drift by horizon", drift(gather(memories, positions), labels, real, positions[0]), update)
        spectra = {"labels": labels[real]} | spectra
    board.add_figure("spectrum", spectra_of(spectra), update)
    write_sample(board, update, rnn, task, batch)
    board.flush()


def first_rows(batch: Batch, number: int) -> Batch:
    """The first blocks of a batch, which start from m_∅."""
    names = ("inputs", "targets", "real", "asked", "ids", "scored", "labels")
    rows = {name: x[:number] for name in names if (x := getattr(batch, name)) is not None}
    return replace(batch, **rows, carried=None)


def labels_at(teacher: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Positions (B, n) and the labels there (B, n, K, d), float32: all, or few where each one costs a pass."""
    size, length = batch.inputs.shape
    positions = torch.arange(length, device=batch.inputs.device)
    if batch.labels is not None:
        labels = batch.labels
    elif teacher.every_position:
        labels = teacher.labels(batch.inputs, batch.real)
    else:
        few = max(1, LABELS // size)
        positions = torch.logspace(0, 1, few, length, device=positions.device).round().long().unique() - 1
        labels = teacher.at(batch.inputs, positions.expand(size, -1), batch.real)
    return positions.expand(size, -1), labels.float()


def drift(memories: Tensor, labels: Tensor, real: Tensor, positions: Tensor) -> Figure:
    """MSE(m̂_t, m_t) over the label variance against the number of steps t + 1."""
    error, count = drift_by_horizon(memories, labels, real)
    reached = count > 0
    variance = label_variance(labels, real).clamp(min=1e-12)
    figure, (panel,) = figure_of(1, BESIDE)
    panel.plot((positions[reached] + 1).tolist(), (error / count / variance)[reached].tolist(), ".-")
    panel.set(xscale="log", xlabel="steps on its own memories", ylabel="drift / label variance")
    panel.set_ylim(bottom=0)
    return figure


def spectra_of(sets: dict[str, Tensor]) -> Figure:
    """Eigenvalues of the covariance of some sets of memories (N, K, d), by their titles."""
    figure, (panel,) = figure_of(1, BESIDE)
    for title, rows in sets.items():
        values = spectrum(rows)
        seen = values[values > 1e-9 * values[0]].tolist()
        panel.plot(range(1, len(seen) + 1), seen, ".-", label=f"{title}, effective rank {effective_rank(rows):.1f}")
    panel.set(yscale="log", xlabel="number of the eigenvalue", ylabel="variance along it")
    panel.legend(frameon=False)
    return figure


def write_sample(board: Any, update: int, rnn: RecurrentLanguageModel, task: Any, batch: Batch) -> None:
    """A text or completed images; a probe has neither."""
    if getattr(task, "probe", None) is not None:
        return
    form = pixel_format(task.args.data, batch.targets.shape[1] - bool(task.args.add_bos_token))
    if form is not None:
        images = batch.targets[:IMAGES, -form.pixels :]
        rows = completions({"RNN": (rnn, task)}, images, form, form.height // 2)
        board.add_figure("completed images", image_grid(rows, form.height // 2), update)
        return
    text, length = text_of(task), int(batch.real[0].sum())
    (sample,) = continue_texts(rnn, text, batch.inputs[:1, : min(PROMPT, length)], LENGTH, temperature=0.8, top_p=0.95)
    board.add_text("sample", as_markdown(sample), update)


def as_markdown(sample: Continuation) -> str:
    """A text as it stands there, its prompt before a `▶`."""
    return "\n".join("    " + line for line in f"{sample.prompt}▶{sample.text}".splitlines())
