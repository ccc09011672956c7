#!/usr/bin/env python3
"""Read the simple log of fairseq-train from stdin; print a short line per hundred updates, losses in bits.

    fairseq-train … --log-format simple --log-interval 25 | python scripts/progress.py [--updates N --whole FACTOR]

With --updates, say early how long the demo is going to take on this machine.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator

SHOWN = ("num_updates", "trunk_nll", "future_nll", "rollout_nll", "ceiling_nll", "rnn_nll", "one_step_error")
SHOWN += ("rollout_drift", "chunk_length", "wall")
EVERY = 100
"""Updates between two lines."""


def forecast(rate: float, updates: int, whole: float) -> str:
    """How long the demo takes, and how to have it shorter.

    Args:
        rate: updates per second of this stage.
        updates: of this stage.
        whole: the demo's seconds over this stage's.
    """
    minutes = updates / rate * whole / 60
    return (
        f"demo: about {minutes:.0f} minutes on this machine ({1 / rate:.2f} s an update); "
        f"DEMO_UPDATES={max(1, updates // 4)} bash scripts/demo.sh takes a quarter of that, with a worse model"
    )


def report(log: Iterable[str], updates: int = 0, whole: float = 1.0) -> Iterator[str]:
    """The lines to print. The forecast comes with the second report: the first has the start-up in its rate."""
    reports = 0
    for line in log:
        found = re.search(r"\| (train_inner|valid) \|", line)
        if found:
            values = dict(re.findall(r"(\w+)[= ]([\d.]+)(?=,| \||$)", line.rstrip()))
            training = found.group(1) == "train_inner"
            reports += training
            if updates and training and reports == 2:
                yield forecast(float(values["ups"]), updates, whole)
            if not training or int(values["num_updates"]) % EVERY == 0:
                shown = "  ".join(f"{name} {values[name]}" for name in SHOWN if name in values)
                yield f"{found.group(1):11} {shown}"
        elif re.search(r"Error\b|error: |done training", line):
            yield line.rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=0, help="updates of this stage")
    parser.add_argument("--whole", type=float, default=1.0, help="seconds of the demo over those of this stage")
    args = parser.parse_args()
    for line in report(sys.stdin, args.updates, args.whole):
        print(line, flush=True)


if __name__ == "__main__":
    main()
