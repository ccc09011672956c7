"""Flags that our commands share, and what they set up before they work."""

import argparse
import logging
from pathlib import Path
from typing import Any

from fairseq_smt.errors import require


def given(args: argparse.Namespace, flags: tuple[str, ...]) -> dict[str, Any]:
    """Those of some flags that the user gave."""
    return {flag: getattr(args, flag) for flag in flags if getattr(args, flag) is not None}


def add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    """`--path`, `--names`, `--gen-subset` and `--cpu`."""
    parser.add_argument("--path", nargs="+", required=True, metavar="CHECKPOINT", help="one or several, after DATA")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="names of the checkpoints; default: their folders'")
    parser.add_argument("--gen-subset", default="test", metavar="SPLIT", help="split to look at; default test")
    parser.add_argument("--cpu", action="store_true", help="do not use CUDA")


def names_of(paths: list[str], names: list[str] | None) -> list[str]:
    """A name per checkpoint: those given, else their folders', else their files', whichever tell them apart.

    Raises:
        ConfigurationError: when the names given do not fit.
    """
    if names:
        require(len(names) == len(paths), f"--names gives {len(names)} names for {len(paths)} checkpoints of --path.")
        require(len(set(names)) == len(names), "--names gives a name twice: give each checkpoint its own.")
        wrong = [name for name in names if "/" in name or name.startswith(".")]
        require(not wrong, f"--names {' '.join(wrong)} cannot be a file's name: leave out '/' and a leading dot.")
        return names
    resolved = [Path(path).resolve() for path in paths]
    for candidates in ([p.parent.name for p in resolved], [p.stem for p in resolved]):
        if len(set(candidates)) == len(paths):
            return candidates
    return [f"{i}-{p.parent.name}-{p.stem}" for i, p in enumerate(resolved, 1)]


def quieten() -> None:
    """Let the plugin speak, fairseq warn, and errors be sentences."""
    from fairseq_smt import console  # noqa: F401

    logging.getLogger("fairseq").setLevel(logging.WARNING)
    logging.getLogger("fairseq_smt").setLevel(logging.INFO)
