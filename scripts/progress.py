#!/usr/bin/env python3
"""Read the simple log of fairseq-train from stdin; print a short line per hundred updates, losses in bits.

    fairseq-train … --log-format simple --log-interval 25 | python scripts/progress.py [--updates N --whole FACTOR]

With --updates, say early how long the demo is going to take on this machine.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from statistics import fmean

SHOWN = ("num_updates", "trunk_nll", "future_nll", "rollout_nll", "ceiling_nll", "rnn_nll", "one_step_error")
SHOWN += ("rollout_drift", "chunk_length", "wall")
EVERY = 100
"""Updates between two lines."""


def forecast(seconds: float, updates: int, whole: float) -> str:
    """How long the demo takes, and how to have it shorter.

    Args:
        seconds: of an update of this stage.
        updates: of this stage.
        whole: the demo's seconds over this stage's.
    """
    minutes = updates * seconds * whole / 60
    return (
        f"demo: about {minutes:.0f} minutes on this machine ({seconds:.2f} s an update); "
        f"DEMO_UPDATES={max(1, updates // 4)} bash scripts/demo.sh takes a quarter of that, with a worse model"
    )


def report(log: Iterable[str], updates: int = 0, whole: float = 1.0) -> Iterator[str]:
    """The lines to print. A forecast comes with the fourth report; the first is left out, it has the start-up."""
    seconds = []  # per update, by report
    for line in log:
        found = re.search(r"\| (train_inner|valid) \|", line)
        if found:
            values = dict(re.findall(r"(\w+)[= ]([\d.]+)(?=,| \||$)", line.rstrip()))
            training = found.group(1) == "train_inner"
            if training:
                seconds.append(1 / max(float(values["ups"]), 1e-3))
            if updates and training and len(seconds) == 4:
                yield forecast(fmean(seconds[1:]), updates, whole)
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
