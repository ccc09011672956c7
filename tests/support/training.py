"""Runs of fairseq-train and what they leave: records of the log, weights and schedules of the checkpoint."""

import json
import re

import torch

from tests.support.commands import TRAIN, fairseq


def records(log: str, tag: str) -> list[dict]:
    """JSON records of a log whose keys start with `tag`, or of the inner training log."""
    found = re.findall(r"\| (\w+) \| (\{.*\})", log)
    return [json.loads(text) for name, text in found if name == tag]


def losses(data, folder, *flags) -> list[str]:
    """The training loss after every update."""
    log = fairseq(
        "train",
        data,
        *TRAIN,
        *("--criterion", "smt", "--log-format", "json", "--log-interval", 1, "--save-dir", folder),
        *("--disable-validation", *flags),
    )
    return [r["loss"] for r in records(log, "train_inner")]


def parameters(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=False)["model"]


def remembered(folder) -> dict[str, dict[str, float]]:
    """What schedules remember, without the run's cost, which differs from run to run."""
    found = torch.load(folder / "checkpoint_last.pt", weights_only=False)["extra_state"]["schedules"]
    return {name: numbers for name, numbers in found.items() if name != "spent"}
