"""fairseq-validate, fairseq-eval-lm and fairseq-generate with the RNN alone."""

import math
import re

import pytest

from tests.support.commands import BLOCKS, fairseq
from tests.support.scoring import evaluate

ALONE = ("--model-overrides", "{'memory_head': 'none'}")


def test_eval_lm_and_validate_agree_with_the_metrics_of_training(data, trained):
    whole = ["--required-batch-size-multiple", 1, "--batch-size", 8]  # a last batch of any size
    path = ["--path", trained / "checkpoint_last.pt", "--valid-subset", "valid", "--cpu", "--task", "smt_lm"]
    log = fairseq("validate", data, *path, *whole)
    reported = {k: float(v) for k, v in re.findall(r"(\w+_nll) ([\d.]+)", log)}
    assert evaluate(data, trained, *ALONE) == pytest.approx(reported["rnn_nll"], abs=1e-3)
    assert evaluate(data, trained, "--model-overrides", "{'score_with': 'teacher'}") == pytest.approx(
        reported["ceiling_nll"], abs=1e-3
    )


def test_eval_lm_scores_alike_with_every_break_mode(data, trained):
    found = [evaluate(data, trained, "--sample-break-mode", mode) for mode in ("none", "complete", "eos")]
    validated = re.findall(r'"valid_rnn_nll": "([\d.]+)"', (trained / "log").read_text())
    assert found == pytest.approx([float(validated[-1])] * 3, abs=0.02)


def test_eval_lm_options_do_not_change_the_score(data, trained):
    plain = evaluate(data, trained)
    assert evaluate(data, trained, "--softmax-batch", 50) == pytest.approx(plain, abs=1e-3)
    assert evaluate(data, trained, "--context-window", 8, "--num-workers", 0) < plain + 0.5


def test_eval_lm_warns_of_other_blocks_than_in_training(data, trained):
    path = ["--path", trained / "checkpoint_last.pt", "--gen-subset", "test", "--cpu"]
    log = fairseq("eval-lm", data, "--task", "smt_lm", *path)
    assert "--tokens-per-sample 32, this command has 1024" in log and "--add-bos-token True" in log


def test_eval_lm_names_the_flags_of_training_to_another_task(data, trained):
    path = ["--path", trained / "checkpoint_last.pt", "--gen-subset", "test", "--cpu"]
    log = fairseq("eval-lm", data, *path)
    assert "trained with --task smt_lm; the task of this command may cut the text into other blocks" in log
    flags = re.search(r"to score as in training, give (.*)", log)[1].split()
    assert flags == "--task smt_lm --tokens-per-sample 32 --sample-break-mode none --add-bos-token".split()
    asked = fairseq("eval-lm", data, *path, *flags)
    assert "bits per byte = bits per token" in asked and "WARNING | fairseq_smt" not in asked


def test_beam_scores_equal_the_scores_of_eval_lm(data, trained):
    """A hypothesis forced onto the text of its block gives each symbol the probability that eval-lm gives it."""
    common = ["--path", trained / "checkpoint_last.pt", "--gen-subset", "test", "--cpu", "--batch-size", 1]
    length = ["--beam", 3, "--max-len-b", 40, "--distributed-world-size", 40, "--distributed-rank", 2]
    generated = fairseq("generate", data, *BLOCKS, *common, *length)
    scored = fairseq("eval-lm", data, *BLOCKS, *common, "--output-word-probs")
    expected = {
        int(i): [float(x) / math.log(2) for x in re.findall(r"\[(-?[\d.]+)\]", line)]
        for i, line in re.findall(r"fairseq_cli\.eval_lm(?: \| |:)(\d+) (.*)$", scored, re.M)
    }
    found = {int(i): list(map(float, p.split())) for i, p in re.findall(r"^P-(\d+)\t(.*)$", generated, re.M)}
    assert found
    for i, positions in found.items():
        # The prompt is the source after bos: the symbol before the block, then the block without its last symbol.
        assert len(expected[i]) == 32
        assert positions[1:32] == pytest.approx(expected[i][:31], abs=2e-4)


@pytest.mark.parametrize(
    "flags",
    [
        ["--beam", 4, "--nbest", 2],
        ["--sampling", "--beam", 1, "--sampling-topk", 5],
        ["--sampling", "--beam", 1, "--sampling-topp", 0.9],
    ],
    ids=["beam", "top-k", "top-p"],
)
def test_generate(data, trained, flags):
    common = ["--path", trained / "checkpoint_last.pt", "--gen-subset", "test", "--cpu", "--batch-size", 16, *ALONE]
    length = ["--prefix-size", 5, "--min-len", 20, "--max-len-b", 20]
    log = fairseq("generate", data, *BLOCKS, *common, *length, *flags)
    found = re.findall(r"^H-\d+\t[^\t]+\t(.*)$", log, re.M)
    lengths = [len(text.split()) for text in found]
    assert lengths and max(lengths) == 20 and lengths.count(20) > len(lengths) / 2
