"""A loss or gradient that is not finite in one of two processes: both end with the sentence, and none waits."""

import socket
import time
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.stages import checkpoint, start_training

USER_DIR = """
import sys
sys.path.insert(0, {root!r})
import fairseq_smt, torch
fairseq_smt.register()
from fairseq_smt.core.objectives import SupervisedMemoryTraining as Objective

sound = Objective._future

def poisoned(self, modules, batch, transitions, draw, terms, measured):
    loss = sound(self, modules, batch, transitions, draw, terms, measured)
    if torch.distributed.get_rank() == 1:
        {poison}
    return loss

Objective._future = poisoned
"""
BROKEN = "loss = terms.add('future_nll', {}, torch.ones(()))"
POISONS = {
    "loss": f"if draw.update == 2: {BROKEN.format('loss * torch.nan')}",
    "gradient": "if draw.update == 2: loss.register_hook(lambda gradient: gradient * torch.nan)",
    "validation": f"if not torch.is_grad_enabled(): {BROKEN.format('loss * torch.nan')}",
    "loss without gradient": f"if draw.update == 2: {BROKEN.format('torch.tensor(torch.inf)')}",
}
LOSS = "error: the loss is not finite (future_nll): lower --lr"
SENTENCES = {"gradient": "error: the gradients are not finite: lower --lr"}
LIMIT = 100
"""Seconds after which processes that wait for each other are ended."""


def train_two(data: Path, folder: Path, *flags) -> list[tuple[int, str]]:
    """Status and output of both processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs = [start_training(data, folder, *flags, rank=rank, port=port) for rank in (0, 1)]
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and any(Path(f"/proc/{run.process}").exists() for run in runs):
        time.sleep(0.1)
    for run in runs:
        if Path(f"/proc/{run.process}").exists():
            run.kill()
    return [run.wait() for run in runs]


@pytest.mark.parametrize(
    "poison, backend",
    [
        ("loss", "legacy_ddp"),
        ("loss", "pytorch_ddp"),
        ("gradient", "legacy_ddp"),
        ("validation", "pytorch_ddp"),
        ("loss without gradient", "legacy_ddp"),
    ],
)
def test_both_processes_end_with_the_sentence(data, tmp_path, poison, backend):
    (tmp_path / "poison").mkdir()
    text = USER_DIR.format(root=str(ROOT), poison=POISONS[poison])
    (tmp_path / "poison" / "__init__.py").write_text(text)
    flags = ["--criterion", "smt", "--user-dir", tmp_path / "poison", "--ddp-backend", backend, "--max-update", 6]
    flags += ["--save-interval-updates", 1, "--valid-subset", "test"]
    ends = train_two(data, tmp_path / "save", *flags)
    for status, output in ends:
        assert status not in (0, -9), output[-3000:]
        assert SENTENCES.get(poison, LOSS) in output and "Traceback" not in output, output[-3000:]
    saved = {path.name for path in (tmp_path / "save").iterdir()}
    if poison == "validation":  # which comes before the first checkpoint is written
        assert not saved
        return
    assert saved == {"checkpoint_1_1.pt", "checkpoint_1_2.pt", "checkpoint_best.pt", "checkpoint_last.pt"}
    last = checkpoint(tmp_path / "save" / "checkpoint_last.pt")
    assert last["optimizer_history"][-1]["num_updates"] == 2
    assert all(value.isfinite().all() for value in last["model"].values())
