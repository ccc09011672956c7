"""The label cache under the real commands: training on it is training on the live teacher."""

import pytest
import torch

from fairseq_smt.core.fingerprints import UNKNOWN, unpack
from tests.support.commands import BLOCKS, TRAIN, fairseq
from tests.support.training import parameters, records

LOGGED = ("loss", "rollout_nll", "rollout_drift", "label_variance", "block_length", "valid_loss", "valid_rnn_nll")


def train(data, folder, *flags, **kwargs) -> str:
    common = ("--log-format", "json", "--log-interval", 1, "--save-dir", folder, "--max-update", 6)
    return fairseq("train", data, *TRAIN, *common, *flags, **kwargs)


def curve(log: str) -> list[list[float]]:
    """What is logged after every update and by the validation."""
    return [[float(r[n]) for n in LOGGED if n in r] for tag in ("train_inner", "valid") for r in records(log, tag)]


def test_dmt_on_the_cache_is_dmt_on_the_live_teacher(data, trained, labels, tmp_path):
    """The student has no teacher in memory; data come from other processes; a curriculum cuts the blocks."""
    dmt = ["--criterion", "dmt", "--finetune-from-model", trained / "checkpoint_last.pt"]
    dmt += ["--curriculum-start", 8, "--curriculum-updates", 4]
    live = train(data, tmp_path / "live", *dmt, "--train", "rnn")
    alone = ["--memory-head", "none", "--label-cache", labels, "--num-workers", 2]
    cached = train(data, tmp_path / "cached", *dmt, *alone)
    expected, found = curve(live), curve(cached)
    assert [len(record) for record in found] == [5] * 6 + [2], "a measure is missing"
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=2e-3, abs=2e-3)
    before, live, cached = (parameters(x) for x in (trained, tmp_path / "live", tmp_path / "cached"))
    assert not any(name.startswith(("teacher.", "future.")) for name in cached)
    names = [name for name in cached if name != "teacher_fingerprint"]
    moved = [(live[name] - before[name], cached[name] - live[name]) for name in names]
    learnt, apart = (torch.cat([x.flatten() for x in each]).norm() for each in zip(*moved, strict=True))
    assert apart < 0.01 * learnt  # AdamW may turn a gradient of nearly 0 around, which moves a single weight
    assert unpack(cached["teacher_fingerprint"]) == unpack(before["teacher_fingerprint"]) > UNKNOWN


def test_a_new_cell_learns_from_the_cache_by_smt_then_dmt(data, trained, labels, tmp_path):
    student = ["--memory-head", "none", "--cell", "gru", "--label-cache", labels]
    log = train(data, tmp_path / "smt", *student, "--criterion", "smt", "--dynamics-ramp-updates", 0)
    inner = records(log, "train_inner")
    assert "ceiling_nll" in inner[0] and "future_nll" not in inner[0] and "trunk_nll" not in inner[0]
    smt, before = parameters(tmp_path / "smt"), parameters(trained)
    assert unpack(smt["teacher_fingerprint"]) == unpack(before["teacher_fingerprint"])
    start = ["--finetune-from-model", tmp_path / "smt" / "checkpoint_last.pt"]
    train(data, tmp_path / "dmt", *student, *start, "--criterion", "dmt")
    path = ["--path", tmp_path / "dmt" / "checkpoint_last.pt", "--gen-subset", "test", "--cpu", "--batch-size", 64]
    assert "Loss (base 2)" in fairseq("eval-lm", data, *BLOCKS, *path)


def test_labels_of_another_teacher_end_with_a_sentence(data, labels, tmp_path):
    """A checkpoint of another teacher; every refusal of files is tested in tests/data/test_label_cache.py."""
    train(data, tmp_path / "other", "--criterion", "smt", "--seed", 2, "--disable-validation")
    flags = ["--criterion", "dmt", "--memory-head", "none", "--label-cache", labels]
    flags += ["--finetune-from-model", tmp_path / "other" / "checkpoint_last.pt"]
    output = train(data, tmp_path / "dmt", *flags, ok=False)
    assert "are of another teacher" in output and "Traceback" not in output
