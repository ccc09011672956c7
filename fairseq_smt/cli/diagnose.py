"""fairseq-smt-diagnose: what a checkpoint's memories do along a sequence, in pictures and one JSON file.

    fairseq-smt-diagnose DATA --path CHECKPOINT ... --output DIR

It shows gradient norms ‖∂L/∂m_t‖ of BPTT and SMT at initialisation and as trained, and drift against horizon. It shows
the loss by position up to four times the training length, and the memory space in two dimensions. Checkpoints are of
model smt_lm, with task smt_lm or smt_probe (then without DATA). For one trained with --memory-head none, what needs a
teacher is left out.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import fairseq  # noqa: F401
from matplotlib.figure import Figure

import fairseq_smt
from fairseq_smt.analysis import figures
from fairseq_smt.analysis.loading import load
from fairseq_smt.analysis.measure import Measured, measure
from fairseq_smt.cli.flags import add_checkpoint_flags, given, names_of, quieten
from fairseq_smt.cli.output import check_place, write_json, write_png
from fairseq_smt.errors import require_positive

logger = logging.getLogger("fairseq_smt.cli.diagnose")

BLOCK_FLAGS = ("tokens_per_sample", "sample_break_mode", "add_bos_token")


def main(argv: list[str] | None = None) -> None:
    """Run the command.

    Raises:
        ConfigurationError: for whatever the user can put right.
    """
    quieten()
    args = parser().parse_args(argv)
    fairseq_smt.register()
    overrides = given(args, BLOCK_FLAGS)
    require_positive(sequences=args.sequences, batch_size=args.batch_size)
    if args.tokens_per_sample is not None:
        require_positive(tokens_per_sample=args.tokens_per_sample)
    check_place(args.output / "diagnostics.json")
    if args.tensorboard_logdir:
        check_place(Path(args.tensorboard_logdir, "events"), f"--tensorboard-logdir {args.tensorboard_logdir}")
    measured = []
    for path, name in zip(args.path, names_of(args.path, args.names), strict=True):
        checkpoint = load(path, name, args.data, overrides, args.cpu)
        measured.append(measure(checkpoint, args.gen_subset, args.sequences, args.batch_size))
        logger.info(f"{name}: {summary(measured[-1].report)}")
    drawn = draw(measured)
    for name, figure in drawn.items():
        write_png(args.output / f"{name}.png", figure)
    report = {"data": args.data, "split": args.gen_subset, "checkpoints": {m.name: m.report for m in measured}}
    write_json(args.output / "diagnostics.json", report)
    logger.info(f"wrote diagnostics.json and {', '.join(f'{name}.png' for name in drawn)} in {args.output}")
    if args.tensorboard_logdir:
        log_to_tensorboard(args.tensorboard_logdir, measured, drawn)


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", metavar="DATA", nargs="?", help="folder written by fairseq-preprocess; none for smt_probe")
    add_checkpoint_flags(p)
    p.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the pictures and the JSON")
    p.add_argument("--tensorboard-logdir", metavar="DIR", help="also write scalars and figures for TensorBoard there")
    p.add_argument("--sequences", type=int, default=64, help="blocks, spread evenly over the split; default 64")
    p.add_argument("--batch-size", type=int, default=16, help="blocks at a time, which bounds the memory; default 16")
    blocks = p.add_argument_group("blocks", "default: those of the checkpoint")
    blocks.add_argument("--tokens-per-sample", type=int, help="the training length")
    blocks.add_argument("--sample-break-mode", choices=["none", "complete", "complete_doc", "eos"])
    blocks.add_argument("--add-bos-token", action=argparse.BooleanOptionalAction)
    return p


def summary(report: dict[str, Any]) -> str:
    """One line: how far gradient norms vary along the block, as trained."""
    parts = []
    for method, part in report["gradients"].items():
        ratios = (part[when]["max_over_min"] for when in ("initialisation", "trained"))
        parts.append(f"{method.upper()} {', '.join('∞' if r is None else f'{r:.3g}' for r in ratios)}")
    return f"largest over smallest gradient norm at initialisation, as trained: {'; '.join(parts)}"


def draw(measured: list[Measured]) -> dict[str, Figure]:
    """The figures by the names of their files."""
    reports = {m.name: m.report for m in measured}
    drawn = {
        "gradients": figures.gradient_figure(reports),
        "drift": figures.drift_figure(reports),
        "loss": figures.loss_figure(reports),
    }
    for m in measured:
        drawn[f"geometry-{m.name}"] = figures.geometry_figure(m.name, m.report["geometry"], m.geometry)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def log_to_tensorboard(folder: str, measured: list[Measured], drawn: dict[str, Figure]) -> None:
    """Curves as scalars, one run per checkpoint and position as the step; figures in a run of their own."""
    from torch.utils.tensorboard import SummaryWriter

    for m in measured:
        with SummaryWriter(f"{folder}/{m.name}") as writer:
            for tag, steps, values in curves(m.report):
                for step, value in zip(steps, values, strict=True):
                    writer.add_scalar(tag, value, step)
    with SummaryWriter(f"{folder}/figures") as writer:
        for name, figure in drawn.items():
            writer.add_figure(name, figure, close=False)


def curves(report: dict[str, Any]) -> list[tuple[str, list[int], list[float]]]:
    """Tag, steps and values of every curve in a report."""
    found = []
    for method, part in report["gradients"].items():
        for when in ("initialisation", "trained"):
            norms = part[when]["norm"]
            found.append((f"gradient_norm/{method}_{when}", list(range(len(norms))), norms))
    drift = (report.get("drift") or {}).get("over_variance")
    if drift:
        found.append(("drift/over_variance", list(range(1, len(drift) + 1)), drift))
    loss = report["loss"]
    for who in ("rnn", "ceiling"):
        if f"{who}_bits" in loss:
            found.append((f"loss_by_{loss['against']}/{who}_bits", loss["x"], loss[f"{who}_bits"]))
    return found


if __name__ == "__main__":
    main()
