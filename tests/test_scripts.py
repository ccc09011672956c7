"""Scripts: splits without leakage, n-gram baselines, the demo's progress, and the checks' sight."""

import math
import shutil
import subprocess
import sys

import pytest
import torch

import progress
from ngram_baselines import bits
from prepare_text import split_by_document, split_by_share
from tests.conftest import ROOT


def test_splitting_by_share_loses_and_repeats_nothing():
    texts = ["".join(map(str, range(i, i + 60))) for i in (0, 500)]
    parts = split_by_share(texts, 0.1, 0.2)
    assert [a + b + c for a, b, c in zip(*(parts[n] for n in ("train", "valid", "test")), strict=True)] == texts
    for text, *cut in zip(texts, *(parts[n] for n in ("train", "valid", "test")), strict=True):
        assert [len(x) / len(text) for x in cut] == pytest.approx([0.7, 0.1, 0.2], abs=1 / len(text))


def test_splitting_by_document_gives_every_text_to_one_split():
    texts = [f"text {i}" for i in range(10)]
    parts = split_by_document(texts, 0.1, 0.2)
    assert sorted(sum(parts.values(), [])) == texts and [len(parts[n]) for n in ("train", "valid", "test")] == [7, 1, 2]
    with pytest.raises(SystemExit, match="needs more than 2 files"):
        split_by_document(texts[:2], 0.1, 0.1)


def test_ngram_baselines_equal_a_plain_count():
    train, test = [3, 4, 3, 4, 4, 2], [4, 3, 2]
    eos, vocabulary, smoothing = 2, 5, 0.1
    pairs = list(zip([eos] + train, train, strict=False))

    def bigram(a: int, b: int) -> float:
        return (pairs.count((a, b)) + smoothing) / (sum(p[0] == a for p in pairs) + smoothing * vocabulary)

    def unigram(b: int) -> float:
        return (train.count(b) + smoothing * vocabulary) / (len(train) + smoothing * vocabulary**2)

    found = bits(torch.tensor(train), torch.tensor(test), vocabulary, eos, smoothing)
    expected = [-math.log2(bigram(a, b)) for a, b in zip([eos] + test, test, strict=False)]
    assert found["bigram"] == pytest.approx(sum(expected) / 3)
    assert found["unigram"] == pytest.approx(-sum(math.log2(unigram(b)) for b in test) / 3)


def reports(rates: dict[int, float]) -> list[str]:
    """Lines of fairseq-train's simple log, given the updates per second up to each update."""
    start = "2026-01-01 00:00:00 | INFO | "
    line = start + "train_inner | epoch 001:     {} / 99 loss=8.1, trunk_nll=2.5, wps=9, ups={}, wall=7"
    inner = [line.format(update, rate) + f", num_updates={update}" for update, rate in rates.items()]
    return [start + "loading data", *inner, start + "valid | epoch 001 | rnn_nll 2.9 | num_updates 100"]


def test_progress_forecasts_the_whole_demo_from_the_rate_after_start_up():
    lines = list(progress.report(reports({25: 1.0, 50: 5.0, 75: 5.0, 100: 5.0}), updates=3000, whole=1.5))
    assert "about 15 minutes" in lines[0] and "DEMO_UPDATES=750" in lines[0]
    assert lines[1:] == [
        "train_inner num_updates 100  trunk_nll 2.5  wall 7",
        "valid       num_updates 100  rnn_nll 2.9",
    ]


def test_progress_without_updates_forecasts_nothing():
    assert len(list(progress.report(reports({25: 1.0, 50: 5.0, 100: 5.0})))) == 2


def test_folders_that_runs_make_do_not_change_what_ruff_says(tmp_path):
    for name in ("pyproject.toml", "fairseq_smt", "benchmarks", "scripts"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for name in ("runs", "outputs", "data-bin", "checkpoints"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "made.py").write_text("import   os, sys")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", tmp_path], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
