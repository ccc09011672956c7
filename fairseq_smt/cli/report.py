"""fairseq-smt-report: what runs of fairseq-train came to, as one HTML file that needs nothing beside it.

    fairseq-smt-report RUN ... --output report.html

A RUN is a --save-dir, or a checkpoint in it. The report shows settings, curves, seconds, and the RNN against its
ceiling. It reads the checkpoint, fairseq's log (--log-file, or beside the folder under its name with .log) and
TensorBoard's files (those of its --tensorboard-logdir). Where DATA is reachable, or the run is of task smt_probe, it
measures gradients, drift and memory geometry as fairseq-smt-diagnose does. It then shows texts or images that the RNN
goes on with, too. What it does not find it leaves out, and says which flag gives it.
"""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import fairseq  # noqa: F401
from fairseq import utils

import fairseq_smt
from fairseq_smt.analysis.loading import Checkpoint, load
from fairseq_smt.analysis.measure import Measured, measure
from fairseq_smt.cli.flags import names_of, quieten
from fairseq_smt.cli.output import check_place, write
from fairseq_smt.errors import ConfigurationError, require, require_positive
from fairseq_smt.reporting import contents
from fairseq_smt.reporting.page import Page
from fairseq_smt.reporting.pictures import COLOURS, theme
from fairseq_smt.reporting.runs import Run, find_checkpoint, read_run
from fairseq_smt.reporting.settings import settings_of
from fairseq_smt.reporting.tables import at_a_glance, seconds, shares

logger = logging.getLogger("fairseq_smt.cli.report")


def main(argv: list[str] | None = None) -> None:
    """Run the command.

    Raises:
        ConfigurationError: for whatever the user can put right.
    """
    quieten()
    args = parser().parse_args(argv)
    fairseq_smt.register()
    require_positive(batch_size=args.batch_size, length=args.length, samples=args.samples)
    require(args.sequences >= 0, f"--sequences must not be negative, got {args.sequences}.")
    check_place(args.output)
    page = page_of(read(args), args)
    content = page.html().encode()
    write(args.output, content)
    for sentence in page.missing:
        logger.info(f"missing: {sentence}")
    logger.info(f"wrote {args.output}, {len(content) / 1e6:.1f} MB")


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("runs", metavar="RUN", nargs="+", help="--save-dir of a run, or a checkpoint")
    p.add_argument("--output", type=Path, default="report.html", metavar="HTML", help="default report.html")
    p.add_argument("--names", nargs="+", metavar="NAME", help="names of the runs; default: their folders'")
    found = p.add_argument_group(
        "where things are", "one for each RUN, in their order, where it is not found by itself"
    )
    found.add_argument("--log-file", nargs="+", metavar="FILE", help="what fairseq-train printed, or its --log-file")
    found.add_argument("--tensorboard-logdir", nargs="+", metavar="DIR", help="where fairseq-train logged to")
    found.add_argument("--data", metavar="DATA", help="of all runs; default: each run's own, if it is where it was")
    measured = p.add_argument_group("measures and samples")
    measured.add_argument("--gen-subset", default="test", metavar="SPLIT", help="split to look at; default test")
    measured.add_argument("--sequences", type=int, default=32, help="blocks measured; default 32, 0: no measures")
    measured.add_argument("--batch-size", type=int, default=16, help="blocks at a time; default 16")
    measured.add_argument("--prompt", metavar="TEXT", help="text that the RNNs continue; default: blocks of the split")
    measured.add_argument("--samples", type=int, default=2, help="texts of each RNN; default 2")
    measured.add_argument("--length", type=int, default=400, metavar="N", help="symbols of a text; default 400")
    measured.add_argument("--seed", type=int, default=1, help="of the sampling; default 1")
    measured.add_argument("--cpu", action="store_true", help="do not use CUDA")
    return p


def read(args: argparse.Namespace) -> list[Run]:
    """The runs."""
    paths = [find_checkpoint(run) for run in args.runs]
    names = names_of([f"{run}/checkpoint" if os.path.isdir(run) else run for run in args.runs], args.names)
    logs, boards = args.log_file, args.tensorboard_logdir
    for flag, values in (("--log-file", logs), ("--tensorboard-logdir", boards)):
        require(values is None or len(values) == len(paths), f"{flag} gives {len(values or ())} for {len(paths)} runs.")
    none = [None] * len(paths)
    return [read_run(*which) for which in zip(paths, names, logs or none, boards or none, strict=True)]


def page_of(runs: Sequence[Run], args: argparse.Namespace) -> Page:
    """All that can be shown of the runs."""
    colours = {run.name: COLOURS[i % len(COLOURS)] for i, run in enumerate(runs)}
    names = " and ".join(filter(None, (", ".join(list(colours)[:-1]), list(colours)[-1])))
    page = Page(
        f"Report on {names}", colours, at_a_glance(runs), seconds(runs), settings=settings_of([r.cfg for r in runs])
    )
    missing = [sentence for run in runs for sentence in run.missing]
    page.shares = {run.name: parts for run in runs if (parts := shares(run))}
    with theme(list(colours.values())):
        page.ceiling = contents.ceiling_picture(runs)
        page.curves = contents.curve_pictures(runs)
    checkpoints = {}
    for run in runs:
        with noted(missing, run.name):
            checkpoints[run.name] = opened(run, args)
    measured = []
    for name, checkpoint in checkpoints.items():
        if args.sequences:
            with noted(missing, name):
                measured.append(measured_of(checkpoint, args))
    with theme([colours[m.name] for m in measured] or COLOURS):
        page.memories = list(contents.memory_pictures(measured))
    add_samples(page, checkpoints, args, missing)
    page.missing = list(dict.fromkeys(missing))
    page.footer = (
        f"{date.today()}, fairseq_smt {fairseq_smt.__version__}: {shlex.join(['fairseq-smt-report', *sys.argv[1:]])}"
    )
    return page


@contextmanager
def noted(missing: list[str], name: str) -> Iterator[None]:
    """Go on without what a sentence refuses, and note it."""
    try:
        yield
    except ConfigurationError as error:
        missing.append(f"{name}: {error}")


def opened(run: Run, args: argparse.Namespace) -> Checkpoint:
    """A run's model on its data.

    Raises:
        ConfigurationError: where there is no such model, or its data are elsewhere.
    """
    require(run.has_memories, "its model is not smt_lm: it has no memories to look at, and its texts are not sampled.")
    data = args.data or run.cfg.task.get("data")
    probe = run.cfg.task._name == "smt_probe"
    require(
        probe or bool(data) and os.path.isdir(utils.split_paths(data)[0]),
        f"its DATA, {data}, is not here, and without it there are no gradients, drift, memory geometry or samples: "
        "name the folder by --data.",
    )
    return load(str(run.checkpoint), run.name, None if probe else data, {}, args.cpu)


def measured_of(checkpoint: Checkpoint, args: argparse.Namespace) -> Measured:
    """Gradients, drift, loss by position and geometry of a checkpoint."""
    logger.info(f"measuring {checkpoint.name} on {args.sequences} blocks")
    return measure(checkpoint, args.gen_subset, args.sequences, args.batch_size)


def add_samples(page: Page, checkpoints: dict[str, Checkpoint], args: argparse.Namespace, missing: list[str]) -> None:
    """Completed images where all data are images, else texts; a probe has neither."""
    texts = {name: checkpoint for name, checkpoint in checkpoints.items() if not checkpoint.is_probe}
    if not texts:
        return
    with noted(missing, "samples"), theme(COLOURS):
        data = next(iter(texts.values())).cfg.task.data
        page.completions = contents.completion_picture(texts, data, args.gen_subset, args.seed)
        if page.completions is None:
            page.samples = contents.text_samples(
                texts, args.gen_subset, args.prompt, args.samples, args.length, args.seed
            )


if __name__ == "__main__":
    main()
