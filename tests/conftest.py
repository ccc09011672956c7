"""Fixtures shared by the tests: real text with nothing to fetch, and what the real fairseq commands make of it."""

from pathlib import Path
from pydoc_data.topics import topics

import pytest

from tests.support.commands import ROOT, TRAIN, fairseq, run


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
