"""`--carry-memory` in fairseq's commands: one text, whatever its blocks, and training that goes on through it."""

import math
import re

import pytest
import torch

from tests.support.commands import BLOCKS, TRAIN, fairseq
from tests.support.refusals import refused
from tests.support.scoring import bits, evaluate
from tests.support.stages import difference, measures, train
from tests.support.training import parameters, records

TEXT = ["--task", "smt_lm", "--carry-memory"]
ALONE = ["--memory-head", "none", "--carry-memory"]
TO_CARRY = {
    "cross_entropy": ["--criterion", "cross_entropy", *ALONE],
    "chunked_bptt": ["--criterion", "chunked_bptt", "--chunk", 8, *ALONE],
}
SHORT = ["--train-subset", "valid", "--valid-subset", "test", "--batch-size", 24, "--clip-norm", 0]
"""Epochs whose last update some rows have no block for."""


def of_one_pass(data, trained, mode: str, bos: bool) -> float:
    """Bits per token of split `valid` by the core's RNN, unrolled over each text as a whole."""
    from fairseq_smt.analysis.loading import load

    checkpoint = load(str(trained / "checkpoint_last.pt"), "it", str(data), {}, cpu=True)
    checkpoint.task.load_dataset("valid")
    items = [item.long() for item in checkpoint.task.datasets["valid"].dataset.dataset]
    texts = items if mode == "eos" else [torch.cat(items)]
    rnn, first = checkpoint.model.rnn, [0, 2] if bos else [2]
    total = 0.0
    for text in texts:
        inputs = torch.cat((torch.tensor(first), text[:-1]))
        logits = rnn.readout(rnn.unroll(inputs[None]))[0, len(first) - 1 :]
        total += float(torch.nn.functional.cross_entropy(logits, text, reduction="sum"))
    return total / sum(map(len, texts)) / math.log(2)


@pytest.mark.parametrize("mode, bos", [("none", True), ("none", False), ("eos", True)])
def test_the_score_of_a_text_does_not_depend_on_its_blocks(data, trained, mode, bos):
    flags = [*TEXT, "--sample-break-mode", mode, *(["--add-bos-token"] if bos else [])]
    expected = of_one_pass(data, trained, mode, bos)
    for length, batch in ((64, 1), (512, 3)):
        cut = ["--tokens-per-sample", length, "--batch-size", batch]
        assert evaluate(data, trained, *cut, blocks=flags) == pytest.approx(expected, abs=1e-4)


def test_every_symbol_is_scored_once_and_validation_says_the_same(data, trained):
    path = ["--path", trained / "checkpoint_last.pt", "--cpu", "--carry-streams", 5]
    log = fairseq("eval-lm", data, *BLOCKS, "--carry-memory", *path, "--gen-subset", "test", "--output-word-probs")
    scored = sum(line.count("[") for line in re.findall(r"fairseq_cli\.eval_lm(?: \| |:)(\d+ .*\].*)$", log, re.M))
    assert scored == int(re.search(r"\((\d+) scored tokens", log)[1])
    assert bits(log) != evaluate(data, trained, "--carry-memory", subset="test")


@pytest.mark.parametrize("criterion", TO_CARRY)
def test_a_resumed_run_is_the_same_to_the_bit(data, tmp_path, criterion):
    """It stops in the midst of an epoch, and validation is what fairseq-validate and fairseq-eval-lm print."""
    flags = [*TO_CARRY[criterion], *SHORT]
    log = train(data, tmp_path / "whole", *flags, "--max-update", 15)
    assert "validation and scoring carry it too" in log
    for updates in (4, 15):
        train(data, tmp_path / "parts", *flags, "--max-update", updates, "--disable-validation")
    assert difference(parameters(tmp_path / "whole"), parameters(tmp_path / "parts")) == 0
    last = float(records(log, "test")[-1]["test_rnn_nll"])
    assert evaluate(data, tmp_path / "whole", "--carry-memory", subset="test") == pytest.approx(last, abs=1e-3)
    path = ["--path", tmp_path / "whole" / "checkpoint_last.pt", "--valid-subset", "test", "--cpu", "--batch-size", 8]
    validated = fairseq("validate", data, "--task", "smt_lm", *path)
    assert float(re.findall(r"rnn_nll ([\d.]+)", validated)[-1]) == pytest.approx(last, abs=1e-3)


def test_training_depends_on_what_was_carried(data, tmp_path):
    """Without the memories of its checkpoint, a resumed run would be another."""
    flags = [*TO_CARRY["cross_entropy"], *SHORT, "--disable-validation"]
    train(data, tmp_path, *flags, "--max-update", 3)
    path = tmp_path / "checkpoint_last.pt"
    state = torch.load(path, weights_only=False)
    assert state["extra_state"]["carried_memory"]["memories"].shape[0] == 24
    del state["extra_state"]["carried_memory"]
    (tmp_path / "other").mkdir()
    torch.save(state, tmp_path / "other" / "checkpoint_last.pt")
    for folder in (tmp_path, tmp_path / "other"):
        train(data, folder, *flags, "--max-update", 5)
    assert difference(parameters(tmp_path), parameters(tmp_path / "other")) > 0


def test_two_processes_are_one_with_update_freq_2(data, tmp_path):
    flags = [*TO_CARRY["chunked_bptt"], *SHORT, "--carry-streams", 8]
    one = train(data, tmp_path / "one", *flags, "--update-freq", 2, "--max-update", 8)
    for updates in (3, 8):  # and they resume
        two = train(data, tmp_path / "two", *flags, "--max-update", updates, processes=2)
    assert difference(parameters(tmp_path / "one"), parameters(tmp_path / "two")) < 1e-6
    assert measures(two)[-1] == pytest.approx(measures(one)[-1], rel=1e-4, abs=2e-3)


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--criterion", "smt"], "the teacher of --criterion smt has no context before a block: remove --carry-memory"),
        (["--criterion", "dmt", "--train", "rnn"], "the teacher of --criterion dmt has no context before a block"),
        (["--criterion", "dmt", "--label-cache", "x"], "--label-cache holds labels of blocks that start anew: remove"),
        (["--criterion", "cross_entropy", "--curriculum-start", 8], "--curriculum-start leaves out the ends of blocks"),
        (["--criterion", "cross_entropy", "--update-freq", "1,2"], "--carry-memory needs one --update-freq"),
        (["--criterion", "cross_entropy", "--carry-streams", 0], "--carry-streams must be positive"),
        (["--criterion", "cross_entropy", "--max-tokens", 8], "a block of 32 tokens is longer than --max-tokens 8"),
        (["--criterion", "cross_entropy", "--update-freq", 9999], "cannot be divided among 9999"),
        (["--criterion", "cross_entropy", "--score-with", "teacher"], "--score-with teacher has no context before"),
    ],
    ids=lambda x: "" if isinstance(x, str) else "-".join(map(str, x[1:])),
)
def test_what_cannot_carry_memory(data, tmp_path, flags, sentence):
    flags = [*TRAIN, "--carry-memory", "--max-update", 1, "--disable-validation", "--save-dir", tmp_path, *flags]
    refused(fairseq("train", data, *flags, ok=False), sentence)


def test_other_commands_and_models_say_so(data, trained, tmp_path):
    path = ["--path", trained / "checkpoint_last.pt", "--cpu", "--carry-memory"]
    refused(fairseq("generate", data, *BLOCKS, *path, ok=False), "--carry-memory is for training and scoring")
    window = ["--context-window", 8, "--num-workers", 0]
    refused(fairseq("eval-lm", data, *BLOCKS, *path, *window, ok=False), "--context-window reads again what")
    shard = ["--num-shards", 2, "--shard-id", 1]
    refused(fairseq("eval-lm", data, *BLOCKS, *path, *shard, ok=False), "shard 1 has no text")
    other = ["--task", "smt_lm", "--tokens-per-sample", 32, "--arch", "transformer_lm", "--save-dir", tmp_path]
    line = [*other, "--batch-size", 8, "--optimizer", "adam", "--criterion", "cross_entropy", "--carry-memory", "--cpu"]
    refused(fairseq("train", data, *line, ok=False), "needs a model with a memory, not a TransformerLanguageModel")
    line = [*TRAIN, "--criterion", "cross_entropy", "--carry-streams", 2, "--save-dir", tmp_path]
    refused(fairseq("train", data, *line, ok=False), "--carry-streams needs --carry-memory")
