"""fairseq-train with criterion smt: what it logs, that it repeats itself, and that it resumes exactly."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.commands import BLOCKS, TRAIN, fairseq
from tests.support.training import losses, parameters, records, remembered

LOGGED = ["trunk_nll", "future_nll", "shuffled_nll", "ceiling_nll", "ceiling_ppl", "dynamics", "one_step_error"]
LOGGED += ["uniformity", "label_variance", "effective_rank"]
WAIT = ("--dynamics-wait-below", 6.3, "--dynamics-wait-patience", 2)
VALIDATED = [*LOGGED, "rnn_nll", "rnn_ppl", "drift_1", "drift_4", "drift_16"]


def test_every_measure_is_logged_in_training_and_validation(trained):
    log = (trained / "log").read_text()
    assert set(LOGGED) <= set(records(log, "train_inner")[0])
    assert {f"valid_{name}" for name in VALIDATED} <= set(records(log, "valid")[-1])


def test_every_measure_reaches_tensorboard(trained):
    for folder, names in (("train_inner", LOGGED), ("valid", VALIDATED)):
        events = EventAccumulator(str(trained / "tb" / folder))
        events.Reload()
        assert set(names) <= set(events.Tags()["scalars"])


def test_the_loss_falls_and_the_best_checkpoint_follows_the_rnn(trained):
    inner = records((trained / "log").read_text(), "train_inner")
    assert float(inner[-1]["ceiling_nll"]) < 0.8 * float(inner[0]["ceiling_nll"])
    best = torch.load(trained / "checkpoint_best.pt", weights_only=False)["extra_state"]["best"]
    assert best == pytest.approx(float(records((trained / "log").read_text(), "valid")[-1]["valid_rnn_nll"]), abs=2e-3)


def test_the_number_of_workers_does_not_change_the_losses(data, tmp_path):
    curriculum = ("--curriculum-start", 4, "--curriculum-updates", 6)
    curves = [losses(data, tmp_path / n, "--max-update", 8, "--num-workers", n, *curriculum) for n in ("0", "2")]
    assert curves[0] == curves[1] and len(curves[0]) == 8


def test_a_resumed_run_continues_exactly(data, tmp_path):
    schedules = ("--dynamics-ramp-updates", 4, *WAIT, "--curriculum-start", 4, "--curriculum-updates", 10)
    whole = losses(data, tmp_path / "whole", "--max-update", 12, *schedules)
    first = losses(data, tmp_path / "parts", "--max-update", 5, *schedules)
    second = losses(data, tmp_path / "parts", "--max-update", 12, *schedules)
    assert first + second == whole
    a, b = parameters(tmp_path / "whole"), parameters(tmp_path / "parts")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert 5 <= remembered(tmp_path / "parts")["dynamics_wait"]["started"] < 12, "the wait must end in the second part"


def test_cross_entropy_trains_the_rnn_alone_and_its_checkpoint_is_scored(data, tmp_path):
    flags = ["--criterion", "cross_entropy", "--memory-head", "none", "--max-update", 20, "--save-dir", tmp_path]
    flags += ["--curriculum-start", 4, "--curriculum-updates", 10]
    fairseq("train", data, *TRAIN, *flags)
    assert not any(name.startswith(("teacher.", "future.")) for name in parameters(tmp_path))
    fairseq("eval-lm", data, *BLOCKS, "--path", tmp_path / "checkpoint_last.pt", "--gen-subset", "test", "--cpu")


@pytest.mark.parametrize("head, cell", [("registers", "gru"), ("scan", "mlp"), ("window", "transformer")])
def test_every_head_trains_and_scores(data, tmp_path, head, cell):
    blocks = ("--tokens-per-sample", 8, "--memory-head", head, "--cell", cell)
    assert len(losses(data, tmp_path, "--max-update", 3, *blocks)) == 3
    path = ["--path", tmp_path / "checkpoint_last.pt", "--gen-subset", "test", "--cpu", "--batch-size", 64]
    flags = ["--tokens-per-sample", 8, "--model-overrides", "{'score_with': 'teacher'}"]
    assert "Loss (base 2)" in fairseq("eval-lm", data, *BLOCKS, *path, *flags)


@pytest.mark.parametrize("part", ["rnn", "readout"])
def test_train_freezes_the_rest(data, trained, tmp_path, part):
    flags = ["--train", part, "--finetune-from-model", trained / "checkpoint_last.pt", "--max-update", 3]
    losses(data, tmp_path, *flags, "--dynamics-ramp-updates", 0)
    before, after = parameters(trained), parameters(tmp_path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    prefix = {"rnn": "decoder.rnn.", "readout": "decoder.rnn.readout."}[part]
    assert changed and all(name.startswith(prefix) for name in changed)


@pytest.mark.parametrize("mode", ["complete", "complete_doc", "eos"])
def test_break_modes_with_blocks_of_unequal_length(data, tmp_path, mode):
    curve = losses(data, tmp_path, "--max-update", 2, "--sample-break-mode", mode)
    assert len(curve) == 2


def test_blocks_of_one_token(data, tmp_path):
    flags = ["--criterion", "smt", "--futures", 1, "--max-update", 2, "--save-dir", tmp_path, "--disable-validation"]
    blocks = ["--task", "smt_lm", "--tokens-per-sample", 1, "--arch", "smt_lm_tiny", "--batch-size", 8, "--cpu"]
    assert "done training" in fairseq("train", data, *blocks, "--optimizer", "adam", "--lr", "0.01", *flags)


def test_the_shim_user_dir_registers_the_same_plugin(data, tmp_path):
    flags = ["--criterion", "smt", "--max-update", 1, "--disable-validation", "--save-dir", tmp_path]
    assert "done training" in fairseq("train", data, *TRAIN, *flags, user_dir="user_dir", fresh=True)
