"""Every stage of training as flags, and what two runs of one must agree on."""

import re
import socket
from pathlib import Path

import torch

from tests.support.commands import ROOT, TRAIN, start
from tests.support.training import records

STAGES = ("smt", "dmt", "dmt-cached", "chunked_bptt", "cross_entropy")
MOVES = {
    "smt": ["--dynamics-ramp-updates", 4, "--dynamics-wait-below", 6.5, "--dynamics-wait-patience", 2],
    "dmt": ["--chunk", 4, "--chunk-lengths", "adaptive"],
}
"""Flags that make a stage's schedule depend on what it measures."""


def flags_of(stage: str, trained: Path, labels: Path) -> list:
    """Flags of fairseq-train for a stage; those after SMT start from `trained`."""
    start_from = ["--finetune-from-model", trained / "checkpoint_last.pt"]
    alone = ["--memory-head", "none"]
    return {
        "smt": ["--criterion", "smt", *MOVES["smt"]],
        "dmt": ["--criterion", "dmt", "--train", "rnn", *MOVES["dmt"], *start_from],
        "dmt-cached": ["--criterion", "dmt", *MOVES["dmt"], *alone, "--label-cache", labels, *start_from],
        "chunked_bptt": ["--criterion", "chunked_bptt", "--chunk", 8, *alone],
        "cross_entropy": ["--criterion", "cross_entropy", *alone],
    }[stage]


def start_training(data: Path, folder: Path, *flags, rank: int = 0, port: int = 0):
    """Start fairseq-train, as one of two processes if given a port."""
    common = ["--user-dir", ROOT / "fairseq_smt", "--log-format", "json", "--log-interval", 1, "--save-dir", folder]
    both = ["--distributed-world-size", 2, "--distributed-rank", rank, "--distributed-no-spawn", "--device-id", 0]
    both += ["--distributed-backend", "gloo", "--distributed-init-method", f"tcp://127.0.0.1:{port}"]
    return start("fairseq-train", data, *TRAIN, *common, *flags, *(both if port else []))


def ends(data: Path, folder: Path, *flags, processes: int = 1) -> list[tuple[int, str]]:
    """Run fairseq-train to its end; status and output of each process."""
    port = 0
    if processes == 2:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    runs = [start_training(data, folder, *flags, rank=rank, port=port) for rank in range(processes)]
    return [run.wait() for run in runs]


def train(data: Path, folder: Path, *flags, processes: int = 1) -> str:
    """Run fairseq-train to a good end; the output of the first process."""
    found = ends(data, folder, *flags, processes=processes)
    for status, output in found:
        assert status == 0, output[-3000:]
    return found[0][1]


def measures(log: str) -> list[dict[str, float]]:
    """What is logged after every update and by every validation, without times and what repeats others."""
    timed = re.compile(
        r"wps|ups|wall|gb_free|_ppl$|^(valid_)?ppl$|clip|loss_scale|bsz|num_updates|wpb|epoch|gnorm|best|cost_seconds"
    )
    found = [record for tag in ("train_inner", "valid") for record in records(log, tag)]
    return [{k: float(v) for k, v in record.items() if v is not None and not timed.search(k)} for record in found]


def checkpoint(path: Path) -> dict:
    """Everything in a checkpoint."""
    return torch.load(path, weights_only=False)


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Largest difference of two models' tensors; infinite where whole numbers differ."""
    assert a.keys() == b.keys()
    exact = all(torch.equal(a[name], b[name]) for name in a if not a[name].is_floating_point())
    floats = [float((a[name].double() - b[name].double()).abs().max()) for name in a if a[name].is_floating_point()]
    return max(floats) if exact else float("inf")
