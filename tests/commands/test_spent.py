"""Every validation logs what training has cost so far, whatever is trained, and a resumed run goes on counting."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support import probes
from tests.support.commands import fairseq
from tests.support.stages import STAGES, flags_of, train
from tests.support.training import records

NAMES = ("cost_seconds", "cost_tokens", "cost_depth")
T = 33
"""Positions of a block of 32 with its bos."""

DEPTHS = {"smt": 2, "dmt": 8, "dmt-cached": 8, "chunked_bptt": 24, "cross_entropy": 2 * T}
SIZES = "--decoder-embed-dim 16 --decoder-attention-heads 2 --decoder-layers 1".split()
FAIRSEQ = {
    "lstm_lm": (2 * T, "--decoder-embed-dim 16 --decoder-hidden-size 16 --decoder-out-embed-dim 16".split()),
    "transformer_lm": (2, [*SIZES, "--decoder-ffn-embed-dim", 16]),
}


def costs(log: str) -> list[tuple[float, ...]]:
    """Seconds, tokens and depth at every validation of a log."""
    return [tuple(float(record[f"valid_{name}"]) for name in NAMES) for record in records(log, "valid")]


@pytest.mark.parametrize("stage", STAGES)
def test_every_criterion(data, trained, labels, tmp_path, stage):
    flags = [*flags_of(stage, trained, labels), *(["--chunk-lengths", "fixed"] if stage.startswith("dmt") else [])]
    short = ["--validate-interval-updates", 2, "--max-valid-steps", 0, "--tensorboard-logdir", tmp_path / "tb"]
    log = train(data, tmp_path, *flags, *short, "--max-update", 4)
    found = costs(log)
    assert len(found) == 2
    for updates, (seconds, tokens, depth) in zip((2, 4), found, strict=True):
        assert tokens == updates * 8 * T and depth == updates * DEPTHS[stage] and seconds > 0
    assert found[0][0] < found[1][0]
    events = EventAccumulator(str(tmp_path / "tb" / "valid"))
    events.Reload()
    assert {*NAMES} <= set(events.Tags()["scalars"])
    for record in records(log, "train_inner"):
        assert not any("cost" in name or "tokens_read" in name for name in record), "training logs no costs"


def test_a_resumed_run_goes_on_counting(data, tmp_path):
    flags = ["--criterion", "cross_entropy", "--memory-head", "none", "--max-valid-steps", 0]
    ((first, *_),) = costs(train(data, tmp_path, *flags, "--max-update", 2))
    ((seconds, tokens, depth),) = costs(train(data, tmp_path, *flags, "--max-update", 3))
    assert seconds > first > 0 and (tokens, depth) == (3 * 8 * T, 3 * 2 * T)


@pytest.mark.parametrize("model", FAIRSEQ)
def test_models_of_fairseqs(data, tmp_path, model):
    depth, sizes = FAIRSEQ[model]
    flags = ["--arch", model, *sizes, "--criterion", "cross_entropy", "--update-freq", 2, "--max-update", 2]
    ((seconds, tokens, found),) = costs(train(data, tmp_path, *flags, "--max-valid-steps", 0))
    assert (tokens, found) == (4 * 8 * T, 4 * depth) and seconds > 0


def test_a_probe_counts_all_that_is_read(tmp_path):
    flags = "--arch smt_lm_tiny --memory-head none --criterion cross_entropy --max-valid-steps 0".split()
    ((_, tokens, depth),) = costs(probes.train(tmp_path, *flags, "--max-update", 1))
    assert (tokens, depth) == (8 * 24, 2 * 24)


def test_blocks_of_a_curriculum_count_as_they_are(data, tmp_path):
    flags = ["--criterion", "cross_entropy", "--memory-head", "none", "--curriculum-start", 4]
    log = train(data, tmp_path, *flags, "--curriculum-updates", 100, "--max-update", 2, "--max-valid-steps", 0)
    assert costs(log)[0][1:] == (2 * 8 * 4, 2 * 2 * 4)


def test_two_processes_read_twice_the_tokens_at_the_same_depth(data, tmp_path):
    flags = ["--criterion", "chunked_bptt", "--chunk", 8, "--memory-head", "none", "--max-valid-steps", 0]
    log = train(data, tmp_path, *flags, "--max-update", 2, processes=2)
    assert costs(log)[0][1:] == (2 * 2 * 8 * T, 2 * 24)


def test_a_stage_after_another_begins_at_nothing(data, trained, tmp_path):
    before = torch.load(trained / "checkpoint_last.pt", weights_only=False)["extra_state"]["schedules"]["spent"]
    assert before["tokens"] > 50 * 8 * 32 and before["seconds"] > 0
    log = train(data, tmp_path, *flags_of("dmt", trained, None), "--max-update", 1, "--max-valid-steps", 0)
    assert costs(log)[0][1] == 8 * T


def test_scoring_logs_no_cost(data, trained):
    path = ["--path", trained / "checkpoint_last.pt", "--cpu", "--batch-size", 64, "--max-tokens", 100000]
    log = fairseq("validate", data, "--task", "smt_lm", "--tokens-per-sample", 32, "--add-bos-token", *path)
    assert "rnn_nll" in log and "cost_" not in log
