#!/usr/bin/env python3
"""How fast everything is: training by every method, its floor, memory, generation and scoring. Writes Markdown.

    python benchmarks/speed.py --output docs/results/2026-11-28-speed.md
    python benchmarks/speed.py --quick --parts updates floor

One process measures, round after round over all cases of a table, so that a slow spell of the machine meets them all;
figures are medians over the rounds. Time is CPU time on a CPU and synchronised wall time on a GPU. Sizes are those of
`smt_lm_small` with a vocabulary of 88. The summary at the head has the ratios that matter.
"""

import argparse
import datetime
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import authors
import speed_cost
import speed_floor
import speed_inference
import speed_memory
import speed_training
import speed_updates
from cost import Sizes
from fairseq_smt.core.allocation import keep_freed_memory
from fairseq_smt.core.errors import ConfigurationError
from report import add_output_flag, emit

PARTS: dict[str, Callable[[argparse.Namespace, Sizes], tuple[list[str], list[str]]]] = {
    "updates": speed_updates.part,
    "floor": speed_floor.part,
    "inference": speed_inference.part,
    "memory": speed_memory.part,
    "training": speed_training.part,
    "authors": authors.part,
    "cost": speed_cost.part,
}
"""Name → rows of the summary, and lines of its section."""


def commit() -> str:
    """The checkout's commit, with a + where files differ from it."""

    def git(*words: str) -> str:
        run = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True)
        return run.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + "+" * bool(git("status", "--porcelain", "--untracked-files=no"))


def machine(device: str) -> str:
    """What it ran on."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpu = Path("/proc/cpuinfo")
    names = [line.split(": ")[1] for line in cpu.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names)} CPUs"


def page(args: argparse.Namespace) -> str:
    """The parts that were asked for, under their summary."""
    started, summary, sections = time.monotonic(), [], []
    for name in args.parts:
        rows, lines = PARTS[name](args, Sizes())
        summary += rows
        sections += ["", *lines] if lines else []
    head = [
        "# Speed",
        "",
        f"{datetime.date.today()}, commit {commit()}, {machine(args.device)}, {args.threads} thread(s), torch "
        f"{torch.__version__}, Python {platform.python_version()}: `python {' '.join(sys.argv)}` took "
        f"{(time.monotonic() - started) / 60:.1f} minutes. Medians of interleaved rounds, {args.rounds} of them; "
        f"{'CPU time' if args.device == 'cpu' else 'time'}. Sizes: `smt_lm_small`, V = 88.",
        "",
        *(f"- {row}" for row in summary),
        "- What the label cache saves beside this: [label cache](2026-11-24-label-cache.md)",
    ]
    return "\n".join([*head, *sections]) + "\n"


def flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds and lengths: minutes on one core")
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 512, 1024], metavar="T", help="of updates")
    parser.add_argument("--tokens", type=int, default=2048, help="B·T, of updates and of scoring")
    parser.add_argument("--inference-lengths", type=int, nargs="+", metavar="T", help="64 256 1024 4096; quick: 64 512")
    parser.add_argument("--memory-lengths", type=int, nargs="+", metavar="T", help="64 to 4096; quick: 64 to 512")
    parser.add_argument("--prompts", type=int, default=16, help="rows of generation in a batch")
    parser.add_argument("--longest", type=int, help="tokens of the longest generation: 100,000; quick: 2,000")
    parser.add_argument("--authors", type=Path, help="a checkout of the paper's code: compare as authors.py does")
    parser.add_argument("--rounds", type=int, help="5; quick: 2")
    parser.add_argument("--seconds", type=float, help="least time of one measurement: 0.5; quick: one call")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_output_flag(parser)
    return parser


def main() -> None:
    parser = flags()
    args = parser.parse_args()
    usual = dict(
        inference_lengths=[64, 256, 1024, 4096],
        memory_lengths=[64, 256, 1024, 4096],
        rounds=5,
        seconds=0.5,
        longest=100_000,
    )
    quick = dict(inference_lengths=[64, 512], memory_lengths=[64, 128, 256, 512], rounds=2, seconds=0.0, longest=2_000)
    for name, value in (quick if args.quick else usual).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU: there is none")
    lengths = [*args.lengths, *args.inference_lengths, *args.memory_lengths, args.longest]
    if min(*lengths, args.tokens, args.prompts, args.rounds, args.threads) < 1:
        parser.error("lengths, --tokens, --prompts, --rounds and --threads must be positive")
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the commands do
    try:
        text = page(args)
    except ConfigurationError as error:
        parser.error(str(error))
    emit(text, args.output)


if __name__ == "__main__":
    main()
