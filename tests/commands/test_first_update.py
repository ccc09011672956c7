"""What a run would stumble over after an epoch is found before its first update."""

import os

import pytest

from tests.support.commands import TRAIN, fairseq

SMT = ["--criterion", "smt", "--max-update", 3]
ALONE = ["--memory-head", "none"]


@pytest.mark.parametrize(
    "flags, named",
    [
        ([*SMT, "--best-checkpoint-metric", "ppl"], "rnn_nll"),
        ([*SMT, "--best-checkpoint-metric", "valid_loss", "--patience", 2], "ceiling_nll"),
        (["--criterion", "chunked_bptt", *ALONE, "--best-checkpoint-metric", "ceiling_nll"], "rnn_nll"),
        (["--criterion", "cross_entropy", *ALONE, "--best-checkpoint-metric", "accuracy"], "rnn_accuracy"),
    ],
    ids=["smt", "patience", "chunked_bptt", "cross_entropy"],
)
def test_a_measure_that_is_not_logged(data, tmp_path, flags, named):
    output = fairseq("train", data, *TRAIN, "--max-update", 3, "--save-dir", tmp_path, *flags, ok=False)
    metric = flags[flags.index("--best-checkpoint-metric") + 1]
    assert f"error: --best-checkpoint-metric {metric} is not measured in validation: give one of" in output
    assert named in output.splitlines()[-1] and "Traceback" not in output
    assert os.listdir(tmp_path) == []


def test_a_measure_that_is_logged(data, tmp_path):
    """One that is better when it is higher is kept where it is lowest unless a flag says otherwise."""
    flags = [*SMT, "--save-dir", tmp_path, "--best-checkpoint-metric", "rnn_accuracy"]
    log = fairseq("train", data, *TRAIN, *flags)
    assert "add --maximize-best-checkpoint-metric" in log and (tmp_path / "checkpoint_best.pt").is_file()
    log = fairseq("train", data, *TRAIN, *flags, "--max-update", 4, "--maximize-best-checkpoint-metric")
    assert "add --maximize" not in log


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--arch", "transformer_lm", "--criterion", "smt"], "cannot train a TransformerLanguageModel"),
        (["--criterion", "dmt"], "add --train rnn"),
        (["--criterion", "dmt", "--train", "rnn"], "needs a trained teacher"),
        (["--criterion", "chunked_bptt"], "trains the RNN alone"),
        (["--criterion", "smt", *ALONE], "trains a teacher"),
    ],
    ids=lambda x: x if isinstance(x, str) else None,
)
def test_a_model_that_the_criterion_cannot_train_leaves_no_checkpoint(data, tmp_path, flags, sentence):
    flags = [*flags, "--max-update", 3, "--save-dir", tmp_path, "--disable-validation"]
    output = fairseq("train", data, *TRAIN, *flags, ok=False)
    assert sentence in output and "Traceback" not in output
    assert os.listdir(tmp_path) == []


def test_a_run_that_goes_on_with_other_blocks_is_told(data, tmp_path):
    flags = [*SMT, "--save-dir", tmp_path, "--disable-validation"]
    assert "was trained with" not in fairseq("train", data, *TRAIN, *flags)
    assert "was trained with" not in fairseq("train", data, *TRAIN, *flags, "--max-update", 4)
    log = fairseq("train", data, *TRAIN, *flags, "--max-update", 5, "--tokens-per-sample", 16)
    assert "the checkpoint was trained with --tokens-per-sample 32, this command has 16" in log
