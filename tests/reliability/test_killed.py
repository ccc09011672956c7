"""Training that is killed again and again ends as if it had not been, to the bit."""

import random
import re
import time
from pathlib import Path

import pytest
import torch

from tests.support.stages import checkpoint, start_training, train

SAVING = ["--save-interval-updates", 1, "--keep-interval-updates", 2, "--validate-interval-updates", 4]
SAVING += ["--valid-subset", "test", "--batch-size-valid", 64, "--max-epoch", 100]
BEST = ["--keep-best-checkpoints", 2, "--best-checkpoint-metric"]
IGNORED = ("cfg", "metrics", "previous_training_time", "seconds", "optimizer_history")
"""Paths, times, and how often a run was resumed."""

EMA = ["--store-ema", "--ema-decay", 0.9, "--ema-fp32"]


def updates_saved(folder: Path) -> int:
    """The update of the newest checkpoint, 0 without one."""
    found = [re.fullmatch(r"checkpoint_\d+_(\d+)\.pt", path.name) for path in folder.glob("checkpoint_*.pt")]
    return max((int(name[1]) for name in found if name), default=0)


def saves(folder: Path) -> bool:
    """Whether a checkpoint is being written or copied."""
    return any(path.suffix == ".tmp" for path in folder.glob("*"))


def wait_until(condition, process: Path) -> None:
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline and process.exists():
        time.sleep(0.0005)


def kill_training(data: Path, folder: Path, flags: list, after: int, while_saving: bool, draws: random.Random) -> bool:
    """Start a training and kill it somewhere after an update; whether that left a checkpoint half-written."""
    run = start_training(data, folder, *flags)
    process = Path(f"/proc/{run.process}")
    wait_until(lambda: updates_saved(folder) >= after, process)
    if while_saving:
        wait_until(lambda: saves(folder), process)
    else:
        end = time.monotonic() + draws.random() * (0.1 if after else 2)
        wait_until(lambda: time.monotonic() > end or updates_saved(folder) > after, process)  # before the run's end
    run.kill()
    status, output = run.wait()
    assert status == -9, output[-3000:]
    return saves(folder)


def identical(a, b, where: str = "") -> None:
    """Require that two checkpoints hold the same."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            if key not in IGNORED:
                identical(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            identical(x, y, f"{where}.{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b or a != a, where


@pytest.mark.parametrize("stage, metric", [("smt", "rnn_nll"), ("dmt", "rnn_nll"), ("dmt-cached", "loss")])
def test_killed_at_random_it_ends_as_if_it_had_not_been(data, stage_flags, tmp_path, kills, stage, metric):
    updates = 4 * kills
    flags = [*stage_flags(stage), *SAVING, *BEST, metric, *EMA, "--max-update", updates]
    train(data, tmp_path / "whole", *flags)
    folder, draws, torn = tmp_path / "killed", random.Random(), 0
    folder.mkdir()
    for i in range(kills):
        torn += kill_training(data, folder, flags, i * updates // kills, i % 2 == 1, draws)
        last = folder / "checkpoint_last.pt"
        assert not last.exists() or checkpoint(last)["model"]
    print(f"{stage}: {kills} kills, {torn} of them left a checkpoint half-written")
    train(data, folder, *flags)
    names = [sorted(path.name for path in f.iterdir()) for f in (tmp_path / "whole", folder)]
    assert names[0] == names[1]
    for name in names[0]:
        identical(checkpoint(tmp_path / "whole" / name), checkpoint(folder / name), name)
    assert checkpoint(folder / "checkpoint_last.pt")["extra_state"]["ema"]
