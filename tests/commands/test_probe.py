"""Task smt_probe under the real commands: what it logs, and that it resumes exactly."""

import re

import pytest
import torch

from tests.support.commands import run
from tests.support.probes import SMT, train
from tests.support.training import records


def validate(folder) -> dict[str, float]:
    path = ["--path", folder / "checkpoint_last.pt", "--valid-subset", "valid", "--batch-size", 8, "--cpu"]
    log = run("fairseq-validate", "--user-dir", "fairseq_smt", "--task", "smt_probe", *path)
    return {name: float(value) for name, value in re.findall(r"\| (\w+) ([\d.]+)", log)}


def test_smt_logs_the_accuracy_of_teacher_and_rnn(tmp_path):
    best = ["--best-checkpoint-metric", "rnn_accuracy", "--maximize-best-checkpoint-metric"]
    log = train(tmp_path, *SMT, *best, "--max-update", 12, "--curriculum-start", 4, "--curriculum-updates", 8)
    assert "guessing 0.125 (chance), at best from the current input and its position 0.1" in log
    inner, valid = records(log, "train_inner"), records(log, "valid")
    assert [int(r["block_length"]) for r in inner] == [4, 6, 9, 11, 14, 16, 19, 21, 24, 24, 24, 24]
    assert all("ceiling_accuracy" in r and "dynamics_ramp" in r for r in inner)
    assert {"valid_ceiling_accuracy", "valid_rnn_accuracy", "valid_best_rnn_accuracy"} <= set(valid[-1])
    assert "valid_block_length" not in valid[-1] and "valid_accuracy" not in valid[-1]
    found = validate(tmp_path)
    for name in ("ceiling_accuracy", "rnn_accuracy"):
        assert found[name] == float(valid[-1][f"valid_{name}"])


def test_cross_entropy_logs_the_accuracy_of_the_model(tmp_path):
    best = ["--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric"]
    log = train(
        tmp_path,
        *("--arch", "smt_lm_tiny", "--memory-head", "none", "--criterion", "cross_entropy", "--max-update", 6),
        *(*best, "--curriculum-start", 4, "--curriculum-updates", 5),
    )
    assert [int(r["block_length"]) for r in records(log, "train_inner")] == [4, 8, 12, 16, 20, 24]
    valid, found = records(log, "valid")[-1], validate(tmp_path)
    for name in ("accuracy", "rnn_accuracy", "rnn_nll"):
        assert found[name] == float(valid[f"valid_{name}"])
    assert valid["valid_accuracy"] == valid["valid_rnn_accuracy"] and valid["valid_rnn_nll"] == valid["valid_loss"]
    assert "train_rnn_nll" not in records(log, "train")[-1]


SIZES = {
    "retrieval": ["--probe-noise", 3],
    "copy": ["--probe-reverse", "--probe-values", 5],
    "stack": ["--probe-depth", 3],
    "keys_values": ["--probe-keys", 9],
    "arithmetic": ["--probe-modulus", 7],
    "parity": [],
}
"""The probes, at flags that are not the default."""


@pytest.mark.parametrize("name", SIZES)
def test_every_probe_runs_under_every_criterion(tmp_path, name):
    probe = ["--probe", name, *SIZES[name], "--probe-epoch-size", 16, "--num-workers", 0]
    probe += ["--max-update", 2, "--curriculum-start", 5, "--curriculum-updates", 1]
    rnn = ["--arch", "smt_lm_tiny", "--memory-head", "none", "--no-save"]
    whole = ["--arch", "smt_lm_tiny", "--future", "window", "--futures", 0]  # targets to the block's end
    dmt = ["--criterion", "dmt", "--train", "rnn", "--finetune-from-model", tmp_path / "smt/checkpoint_last.pt"]
    accuracies = {
        "smt": ("valid_ceiling_accuracy", "valid_rnn_accuracy"),
        "dmt": ("valid_ceiling_accuracy", "valid_rnn_accuracy"),
        "chunked_bptt": ("valid_rnn_accuracy",),
        "cross_entropy": ("valid_accuracy", "valid_rnn_accuracy"),
    }
    logs = {
        "smt": train(tmp_path / "smt", *probe, *whole, "--criterion", "smt"),
        "dmt": train(tmp_path, *probe, *whole, *dmt, "--no-save"),
        "chunked_bptt": train(tmp_path, *probe, *rnn, "--criterion", "chunked_bptt"),
        "cross_entropy": train(tmp_path, *probe, *rnn, "--criterion", "cross_entropy"),
    }
    for criterion, log in logs.items():
        assert re.search(rf"probe {name}: \d+ types, accuracy of guessing 0\.\d+ \(chance\)", log)
        assert [int(r["block_length"]) for r in records(log, "train_inner")] == [5, 24]
        assert set(accuracies[criterion]) <= set(records(log, "valid")[-1])


@pytest.mark.parametrize("name", ["retrieval", "stack"])
def test_fairseqs_own_language_models_run_on_a_probe(tmp_path, name):
    sizes = ["--decoder-embed-dim", 16, "--decoder-layers", 1, "--dropout", 0]
    models = {
        "lstm_lm": ["--decoder-hidden-size", 16, "--decoder-out-embed-dim", 16],
        "transformer_lm": ["--decoder-attention-heads", 2, "--decoder-ffn-embed-dim", 32],
    }
    for arch, flags in models.items():
        flags = [*sizes, *flags, "--probe", name, "--criterion", "cross_entropy", "--max-update", 2, "--no-save"]
        valid = records(train(tmp_path, "--arch", arch, *flags), "valid")[-1]
        assert valid["valid_accuracy"] == valid["valid_rnn_accuracy"] and valid["valid_rnn_nll"] == valid["valid_loss"]


def test_schedules_and_data_continue_exactly_in_a_resumed_run_and_with_workers(tmp_path):
    """The wait ends in the second part; epochs of 5 updates; the whole run loads its data in other processes."""
    schedule = ["--dynamics-wait-below", 4.3, "--dynamics-wait-patience", 5, "--dynamics-ramp-updates", 3]
    schedule += ["--curriculum-start", 4, "--curriculum-updates", 10, "--disable-validation"]

    def curve(folder: str, *flags) -> list[tuple[str, ...]]:
        inner = records(train(tmp_path / folder, *SMT, *schedule, *flags), "train_inner")
        return [tuple(r[name] for name in ("loss", "dynamics_ramp", "block_length")) for r in inner]

    whole = curve("whole", "--max-update", 14, "--num-workers", 2)
    first = curve("parts", "--max-update", 6, "--num-workers", 0)
    second = curve("parts", "--max-update", 14, "--num-workers", 0)
    assert first + second == whole
    ramp = [float(r[1]) for r in whole]
    assert ramp == sorted(ramp) and ramp[6] == 0 and ramp[-1] == 1
    a, b = (torch.load(tmp_path / x / "checkpoint_last.pt", weights_only=False)["model"] for x in ("whole", "parts"))
    assert all(torch.equal(a[name], b[name]) for name in a)
