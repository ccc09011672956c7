"""Checkpoints averaged by fairseq's average_checkpoints.py: scored, cached from, and started from."""

import re

import pytest
import torch

from fairseq_smt.core.fingerprints import unpack
from tests.support.commands import TRAIN, fairseq
from tests.support.label_cache import cache
from tests.support.models import averaged
from tests.support.scoring import evaluate


@pytest.fixture(scope="module")
def average(data, tmp_path_factory):
    """Folder of the average of two checkpoints of an SMT run, several times; all but the weights is the first one's."""
    folder = tmp_path_factory.mktemp("average")
    smt = ["--criterion", "smt", "--max-update", 6, "--save-interval-updates", 3, "--disable-validation"]
    fairseq("train", data, *TRAIN, *smt, "--save-dir", folder)
    first, second = (torch.load(folder / f"checkpoint_1_{update}.pt", weights_only=False) for update in (3, 6))
    assert not torch.equal(first["model"]["teacher_fingerprint"], second["model"]["teacher_fingerprint"])
    torch.save(first | {"model": averaged([first["model"], second["model"]] * 16)}, folder / "checkpoint_last.pt")
    return folder


@pytest.mark.parametrize("overrides", [{"memory_head": "none"}, {"score_with": "teacher"}], ids=["rnn", "teacher"])
def test_it_is_scored(data, average, overrides):
    assert 0 < evaluate(data, average, "--model-overrides", overrides) < 10


def test_dmt_starts_from_it_and_from_labels_cached_from_it(data, average, tmp_path):
    cache(data, average, tmp_path / "labels", "--splits", "train,valid")
    dmt = ["--criterion", "dmt", "--finetune-from-model", average / "checkpoint_last.pt", "--max-update", 2]
    dmt += ["--log-format", "json", "--log-interval", 1, "--disable-validation"]
    stages = {
        "live": ["--train", "rnn"],
        "cached": ["--memory-head", "none", "--label-cache", tmp_path / "labels"],
    }
    logs, taught = {}, set()
    for name, flags in stages.items():
        logs[name] = fairseq("train", data, *TRAIN, *dmt, *flags, "--save-dir", tmp_path / name)
        state = torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=False)
        taught.add(unpack(state["model"]["teacher_fingerprint"]))
    drift = {name: [float(x) for x in re.findall(r'"rollout_drift": "([\d.]+)"', log)] for name, log in logs.items()}
    assert drift["live"] and drift["cached"] == pytest.approx(drift["live"], abs=2e-3)
    assert len(taught) == 1
