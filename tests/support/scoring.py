"""What fairseq-eval-lm prints."""

import re

from tests.support.commands import BLOCKS, fairseq


def bits(log: str) -> float:
    return float(re.search(r"Loss \(base 2\): ([\d.]+)", log).group(1))


def evaluate(data, trained, *flags, blocks=BLOCKS, subset="valid") -> float:
    path = ["--path", trained / "checkpoint_last.pt", "--gen-subset", subset, "--cpu", "--batch-size", 16]
    return bits(fairseq("eval-lm", data, *blocks, *path, *flags))
