"""Fixtures shared by the tests: real text with nothing to fetch, and the real fairseq commands."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from tests.preloaded import COMMANDS, Command, Server

ROOT = Path(__file__).parent.parent
FRESH = bool(os.environ.get("TEST_FRESH"))
"""TEST_FRESH=1 starts every command as a process of its own, at a third of the speed."""

BLOCKS = ["--task", "smt_lm", "--tokens-per-sample", "32", "--add-bos-token"]
TRAIN = [*BLOCKS, "--arch", "smt_lm_tiny", "--batch-size", "8", "--optimizer", "adam", "--lr", "0.008", "--cpu"]


@cache
def server() -> Server:
    """fairseq's commands, imported once for all tests of this process."""
    return Server(Path(tempfile.mkdtemp(prefix="fairseq-")))


def prepared(command: Sequence[object]) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a command."""
    argv = [str(Path(sys.executable).parent / str(command[0])), *map(str, command[1:])]
    return argv, os.environ | {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}


def start(*command: object, cwd: Path = ROOT) -> Command:
    """Start one of fairseq's commands and return at once."""
    argv, environment = prepared(command)
    return server().start(argv, cwd, environment)


def run(*command: object, cwd: Path = ROOT, ok: bool = True, stdin: str | None = None, fresh: bool = FRESH) -> str:
    """Run a command of this environment and return what it prints; fail unless it succeeds (or fails, if not `ok`).

    Args:
        fresh: start the installed program; otherwise fairseq's commands run in forks of a process that has imported
            them (tests/preloaded.py).
    """
    argv, environment = prepared(command)
    if fresh or command[0] not in COMMANDS:
        done = subprocess.run(argv, cwd=cwd, env=environment, input=stdin, text=True, capture_output=True, timeout=300)
        status, output = done.returncode, done.stdout + done.stderr
    else:
        status, output = server().start(argv, cwd, environment, stdin).wait()
    assert (status == 0) == ok, output[-3000:]
    return output


def fairseq(command: str, data: Path, *flags: object, user_dir: str = "fairseq_smt", **kwargs) -> str:
    """`fairseq-COMMAND DATA --user-dir fairseq_smt FLAGS`."""
    return run(f"fairseq-{command}", data, "--user-dir", user_dir, *flags, **kwargs)


def pytest_addoption(parser) -> None:
    parser.addoption("--stress", action="store_true", help="twenty kills instead of three, every pair of a matrix")


@pytest.fixture(scope="session")
def kills(request) -> int:
    """How often a run is killed."""
    return 20 if request.config.getoption("stress") else 3


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Python's own help topics as fairseq data: a few dozen documents, split by document."""
    folder = tmp_path_factory.mktemp("text")
    names = sorted(topics)[:40]
    for name in names:
        (folder / f"{name}.txt").write_text(topics[name][:4000])
    files = [folder / f"{name}.txt" for name in names]
    run("python", ROOT / "scripts/prepare_text.py", "--split", "document", "--destdir", folder / "data", *files)
    return folder / "data"


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory) -> Path:
    """Save folder of a short SMT run, with TensorBoard beside the checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    flags = ["--save-dir", folder, "--max-update", 60, "--tensorboard-logdir", folder / "tb", "--log-format", "json"]
    log = fairseq(
        "train", data, *TRAIN, "--criterion", "smt", "--best-checkpoint-metric", "rnn_nll", "--log-interval", 10, *flags
    )
    (folder / "log").write_text(log)
    return folder


@pytest.fixture(scope="session")
def labels(data, trained, tmp_path_factory):
    """float16 labels of every split by two processes."""
    root = tmp_path_factory.mktemp("labels")
    for shard in (0, 1):
        flags = ["--path", trained / "checkpoint_last.pt", "--label-cache", root, "--cpu", "--num-shards", 2]
        flags += ["--splits", "train,valid,test"]
        log = run("python", "-m", "fairseq_smt.cli.cache_labels", data, *flags, "--shard-id", shard)
        assert "free" in log and "labels of 2 × 16 float16 numbers" in log and "label/s" in log
    return root
