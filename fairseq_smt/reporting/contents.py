"""A report's pictures and samples, out of runs and what was measured of their checkpoints."""

import re
from collections.abc import Iterator, Mapping, Sequence

import torch

from fairseq_smt.analysis import figures
from fairseq_smt.analysis.loading import Checkpoint
from fairseq_smt.analysis.measure import Measured
from fairseq_smt.analysis.samples import (
    Continuation,
    completions,
    continue_texts,
    first_tokens,
    pixel_format,
    text_of,
)
from fairseq_smt.errors import require
from fairseq_smt.reporting.page import Picture, Sample
from fairseq_smt.reporting.pictures import NARROW, ceiling_figure, curve_figure, data_uri
from fairseq_smt.reporting.runs import Run
from fairseq_smt.reporting.tables import validation_of

GROUPS = {
    "Losses": r"loss|.*_(nll|bpb)",
    "Drift, over the label variance": r".*drift.*|one_step_error|dynamics",
    "Memories": r"label_variance|effective_rank|uniformity",
    "Accuracy": r".*accuracy",
    "Optimiser and schedules": r"lr|gnorm|loss_scale|dynamics_ramp|block_length|chunk_length",
}
"""Headings and the names of the values that stand under them."""
UNSHOWN = r"wps|ups|wpb|bsz|clip|(train_)?wall|gb_free|num_updates|epoch|update|(.*_)?ppl|best_.*"
"""Values that others say better."""
UNITS = {r"loss": "bits", r".*_nll": "bits per target", r".*_bpb": "bits per byte", r"accuracy": "share right"}
IMAGES = 6
"""Completed images, as many as a phone shows."""


def ceiling_picture(runs: Sequence[Run]) -> Picture | None:
    """The RNN against its ceiling in the first unit that a run has it in."""
    for rnn, ceiling, unit in (
        ("rnn_nll", "ceiling_nll", "bits per target"),
        ("rnn_accuracy", "ceiling_accuracy", "share of targets right"),
    ):
        pairs = {run.name: (validation_of(run, rnn), validation_of(run, ceiling)) for run in runs}
        if figure := ceiling_figure(pairs, unit):
            note = "Validation. Solid: the RNN on its own memories. Dotted: the readout on the teacher's."
            return Picture("The RNN and its ceiling", data_uri(figure), note)
    return None


def curve_pictures(runs: Sequence[Run]) -> dict[str, list[Picture]]:
    """A small picture for every value that was logged, by heading."""
    names = dict.fromkeys(name for run in runs for name in run.curves.names())
    groups: dict[str, list[Picture]] = {heading: [] for heading in (*GROUPS, "Others")}
    for name in sorted(names, key=_order):
        if re.fullmatch(UNSHOWN, name):
            continue
        pairs = {run.name: (run.curves.training(name), validation_of(run, name)) for run in runs}
        if figure := curve_figure(pairs):
            heading = next((h for h, pattern in GROUPS.items() if re.fullmatch(pattern, name)), "Others")
            unit = next((unit for pattern, unit in UNITS.items() if re.fullmatch(pattern, name)), "")
            groups[heading].append(Picture(name, data_uri(figure), unit))
    return {heading: pictures for heading, pictures in groups.items() if pictures}


def _order(name: str) -> tuple[bool, str, int]:
    """The loss first, then by name, with numbers as numbers."""
    stem, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()
    return name != "loss", stem, int(digits or 0)


def memory_pictures(measured: Sequence[Measured]) -> Iterator[Picture]:
    """Drift, gradients, loss by position, and each run's memory space."""
    reports = {m.name: m.report for m in measured}
    if not reports:
        return
    if (drift := figures.drift_figure(reports, NARROW)) is not None:
        yield Picture(
            "Drift by horizon",
            data_uri(drift),
            "How far from the labels the RNN is after so many steps from its initial memory.",
        )
    yield Picture(
        "Loss by position",
        data_uri(figures.loss_figure(reports, NARROW)),
        "Dotted: the ceiling. The grey line is the training length.",
    )
    yield Picture(
        "Gradients along the block",
        data_uri(figures.gradient_figure(reports, NARROW)),
        "Solid: SMT's loss reaches every memory directly. Dashed: BPTT's passes through all steps between.",
    )
    for m in measured:
        geometry = figures.geometry_figure(m.name, m.report["geometry"], m.geometry, NARROW)
        yield Picture(f"Memory space: {m.name}", data_uri(geometry), "Coloured by position in the block.")


def text_samples(
    checkpoints: Mapping[str, Checkpoint], split: str, prompt: str | None, number: int, length: int, seed: int
) -> list[Sample]:
    """Texts that the RNNs of some checkpoints go on with, the same prompts for all.

    Args:
        split: where prompts come from, 48 symbols each, unless `prompt` is given.
        number: of prompts, or of continuations of the one that is given.
    """
    found: dict[str, list[Continuation]] = {}
    for name, checkpoint in checkpoints.items():
        text, task = text_of(checkpoint.task), checkpoint.task
        if prompt is None:
            (batch,) = checkpoint.batches(split, checkpoint.length, number, number)
            prompts = batch.inputs[:, : min(48, batch.inputs.shape[1])]
        else:
            ids = [*first_tokens(task), *text.encode(prompt)]
            prompts = torch.tensor([ids] * number, device=checkpoint.device)
        rnn = checkpoint.model.rnn
        found[name] = continue_texts(rnn, text, prompts, length, seed, temperature=0.8, top_p=0.95)
    most = max(map(len, found.values()))  # a split may have fewer blocks
    return [Sample({name: texts[i] for name, texts in found.items() if i < len(texts)}) for i in range(most)]


def completion_picture(checkpoints: Mapping[str, Checkpoint], data: str, split: str, seed: int) -> Picture | None:
    """Test images whose lower halves the RNNs drew; None where DATA holds no images."""
    first = next(iter(checkpoints.values()))
    form = pixel_format(data, first.length)
    if form is None:
        return None
    for name, checkpoint in checkpoints.items():
        require(checkpoint.length == form.pixels, f"{name} was trained on blocks that are not images of {data}.")
    (batch,) = first.batches(split, form.pixels, IMAGES, IMAGES)
    rnns = {name: (checkpoint.model.rnn, checkpoint.task) for name, checkpoint in checkpoints.items()}
    rows = completions(rnns, batch.targets[:, -form.pixels :], form, form.height // 2, seed=seed)
    picture = data_uri(figures.image_grid(rows, form.height // 2))
    return Picture("Completed images", picture, "Each RNN reads the upper half and draws the lower one.")
