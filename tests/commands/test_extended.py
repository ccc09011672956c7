"""A finished run that is repeated with a larger --max-update goes on where it was."""

import shutil

import pytest

from tests.support.probes import SMT, train
from tests.support.training import records, remembered

LSTM = ["--arch", "lstm_lm", "--decoder-embed-dim", 8, "--decoder-layers", 1, "--decoder-hidden-size", 8]
LSTM += ["--decoder-out-embed-dim", 8, "--criterion", "cross_entropy"]
CURRICULUM = ["--curriculum-start", 4, "--disable-validation"]
KEPT = "--{} stays 4, as this run began, where half of --max-update would now be 12: give --{} to change it"


def curve(log: str, *names: str) -> list[tuple[float, ...]]:
    return [tuple(float(record[name]) for name in names) for record in records(log, "train_inner")]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Save folder of 8 updates: ramp and curriculum end after 4."""
    folder = tmp_path_factory.mktemp("begun")
    log = train(folder, *SMT, *CURRICULUM, "--max-update", 8, "--store-ema")
    expected = [(4, 0), (9, 0.25), (14, 0.5), (19, 0.75), *[(24, 1)] * 4]
    assert curve(log, "block_length", "dynamics_ramp") == expected
    return folder


def test_ramp_and_curriculum_stay_where_they_were(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "run")
    log = train(tmp_path / "run", *SMT, *CURRICULUM, "--max-update", 24, "--store-ema", "--reset-dataloader")
    assert curve(log, "block_length", "dynamics_ramp") == [(24, 1)] * 16
    assert all(KEPT.format(flag, flag) in log for flag in ("curriculum-updates", "dynamics-ramp-updates"))
    again = remembered(tmp_path / "run")
    assert again["curriculum_updates"] == again["dynamics_ramp_updates"] == {"updates": 4}


def test_a_flag_that_is_given_counts(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "run")
    log = train(tmp_path / "run", *SMT, *CURRICULUM, "--curriculum-updates", 20, "--max-update", 10, "--store-ema")
    assert curve(log, "block_length", "dynamics_ramp") == [(12, 1), (13, 1)]
    assert "--curriculum-updates 20 takes the place of the 4 updates that this run began with" in log


def test_a_new_run_from_the_checkpoint_begins_anew(begun, tmp_path):
    start = ["--finetune-from-model", begun / "checkpoint_last.pt", "--max-update", 4]
    log = train(tmp_path, *SMT, *CURRICULUM, *start)
    assert curve(log, "block_length", "dynamics_ramp") == [(4, 0), (14, 0.5), (24, 1), (24, 1)]
    assert "as this run began" not in log


def test_another_model_under_our_task(tmp_path):
    assert curve(train(tmp_path, *LSTM, *CURRICULUM, "--max-update", 8), "block_length")[-4:] == [(24,)] * 4
    log = train(tmp_path, *LSTM, *CURRICULUM, "--max-update", 24)
    assert curve(log, "block_length") == [(24,)] * 16
    assert KEPT.format("curriculum-updates", "curriculum-updates") in log
