"""fairseq's log: the same values of every format, seconds of the phases, and lines that are no records."""

import json

import pytest

from fairseq_smt.errors import ConfigurationError
from fairseq_smt.reporting.logs import read_log

INNER = {10: {"loss": 8.5, "future_nll": 4.0}, 20: {"loss": 7.5, "future_nll": 3.5}}
VALID = {20: {"loss": 7.0, "rnn_nll": 3.25}}


def stamped(second: int, what: str) -> str:
    return f"2026-01-02 03:{second // 60:02}:{second % 60:02} | INFO | {what}"


def as_json(kind: str, values: dict[int, dict]) -> list[str]:
    prefix = {"train_inner": ""}.get(kind, f"{kind}_")
    return [
        json.dumps({"epoch": 1} | {prefix + k: str(v) for k, v in (values[u] | {"num_updates": u}).items()})
        for u in values
    ]


def as_simple(kind: str, values: dict[int, dict]) -> list[str]:
    if kind == "train_inner":
        pairs = {u: ", ".join(f"{k}={v}" for k, v in values[u].items()) for u in values}
        return [f"epoch 001:     {u} / 192 {pairs[u]}, num_updates={u}, lr=0.1" for u in values]
    subset = "" if kind == "train" else f"valid on '{kind}' subset | "
    pairs = {u: " | ".join(f"{k} {v}" for k, v in values[u].items()) for u in values}
    return [f"epoch 001 | {subset}{pairs[u]} | num_updates {u}" for u in values]


def run(records, seconds: int = 0, ends: bool = True) -> list[str]:
    """The log of a run that starts up for 4 seconds, and validates and saves for 3 of its 20."""
    first, second = records("train_inner", INNER)
    lines = [
        stamped(seconds, "fairseq_cli.train | {'_name': None, 'common': {}}"),
        stamped(seconds + 3, "fairseq_cli.train | training on 1 devices (GPUs/TPUs)"),
        stamped(seconds + 4, "fairseq_cli.train | Start iterating over samples"),
        stamped(seconds + 10, f"train_inner | {first}"),
        stamped(seconds + 20, f"train_inner | {second}"),
        stamped(seconds + 20, 'fairseq_cli.train | begin validation on "valid" subset'),
        stamped(seconds + 22, f"valid | {records('valid', VALID)[0]}"),
        stamped(seconds + 23, "fairseq.checkpoint_utils | Saved checkpoint x (epoch 1) (writing took 0.5 seconds)"),
    ]
    end = stamped(seconds + 24, "fairseq_cli.train | done training in 20.0 seconds")
    mean = stamped(seconds + 24, f"train | {records('train', {20: {'loss': 8.0}})[0]}")
    return [*lines, mean, end] if ends else lines


@pytest.fixture(params=[as_json, as_simple], ids=["json", "simple"])
def records(request):
    return request.param


def log_of(path, lines: list[str]):
    path.write_text("\n".join(lines) + "\n")
    return read_log(path)


def bare(lines: list[str]) -> list[str]:
    """What `--log-file` keeps: messages alone, some twice."""
    return [line.split(" | ", 3)[-1] for line in lines for _ in range(2)]


@pytest.mark.parametrize("kept", [list, bare])
def test_every_format_says_the_same(tmp_path, records, kept):
    curves = log_of(tmp_path / "log", kept(run(records))).curves
    assert curves.training("loss") == {10: 8.5, 20: 7.5} and curves.training("future_nll") == {10: 4.0, 20: 3.5}
    assert curves.validation("rnn_nll") == curves.validation("rnn_nll", "valid") == {20: 3.25}
    assert curves.values["train"]["loss"] == {20: 8.0} and curves.validation("loss") == {20: 7.0}


def test_seconds_are_those_of_all_commands_that_went_on_with_a_run(tmp_path, records):
    one = log_of(tmp_path / "one", run(records)).phases
    assert (one.start, one.total, one.validation, one.saving, one.updates) == (4, 20, 2, 0.5, 17.5)
    killed = log_of(tmp_path / "killed", run(records, ends=False)).phases
    assert (killed.start, killed.total, killed.validation) == (4, 18, 2)  # up to its last values
    both = log_of(tmp_path / "both", run(records, ends=False) + run(records, seconds=500)).phases
    assert (both.start, both.total, both.validation, both.saving) == (8, 38, 4, 1)
    without = log_of(tmp_path / "bare", bare(run(records))).phases
    assert without.start == without.validation == 0 and without.total == 40  # every line is there twice


def test_what_is_no_record_is_passed_over(tmp_path, records):
    deep = '{"epoch"' + "[" * 60_000
    strange = ['{"epoch": 1, "num_updates": "30", "a": "x", "b": [1], "c": NaN, "d-e": "1", "loss": "1e999"}']
    strange += ['{"epoch": 1, "num_updates": "1.5", "loss": "1"}', '{"epoch": 1, "loss": "1"}', '{"epoch"', deep]
    strange += [
        "epoch 001 | loss",
        "epoch 001:  1 / 2 loss=, num_updates=3",
        "a" * 200_000,
        "\x00\ufffd",
        '{"epoch": 1}',
    ]
    found = log_of(tmp_path / "log", strange + run(records) + strange)
    plain = log_of(tmp_path / "plain", run(records))
    assert found.curves.values == plain.curves.values and found.phases == plain.phases
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 1000)
    assert not read_log(tmp_path / "binary").curves
    with pytest.raises(ConfigurationError, match="the log .* cannot be read"):
        read_log(tmp_path)


def test_a_resumed_run_says_its_last_word_on_an_update(tmp_path, records):
    again = [line.replace("7.5", "7.25") for line in run(records)]
    assert log_of(tmp_path / "log", run(records) + again).curves.training("loss") == {10: 8.5, 20: 7.25}
