"""The table of precisions on the page of several processes: every flag trains, goes on and scores as its row says."""

import re

import fairseq_cli.eval_lm
import pytest
from fairseq import tasks
from fairseq.trainer import Trainer

from tests.support.commands import BLOCKS, ROOT, TRAIN, fairseq
from tests.support.config import config

SMT = [*TRAIN, "--criterion", "smt"]
PAGE = (ROOT / "docs/how-to/several-processes.md").read_text()
TABLE = [
    [cell.strip().strip("`") for cell in line.split("|")[1:-1]]
    for line in PAGE.partition("\n## Half precision")[2].splitlines()
    if line.startswith("|")
][2:]
"""Flag, weights, copy, weights in scoring, what becomes of it on CPU, and on a GPU."""
FLAGS = {"none": []} | {row[0]: [row[0]] for row in TABLE if row[0] != "none"}


def dtype_of(model) -> str:
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def test_the_table_has_every_flag():
    assert list(FLAGS) == ["none", "--fp16", "--memory-efficient-fp16", "--bf16", "--memory-efficient-bf16", "--amp"]


@pytest.mark.parametrize("name, weights, copy, scoring, on_cpu, on_gpu", TABLE, ids=list(FLAGS))
def test_weights(monkeypatch, data, trained, name, weights, copy, scoring, on_cpu, on_gpu):
    line = [x for x in SMT if x != "--cpu"]  # the next test has it
    cfg = config(monkeypatch, "train", data, *line, *FLAGS[name], "--save-dir", "unused")
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    trainer = Trainer(cfg, task, model, task.build_criterion(cfg.criterion))
    assert dtype_of(trainer.model) == weights
    assert {"yes": True, "no": False}[copy] == (type(trainer.optimizer).__name__ == "FP16Optimizer")

    seen = []
    monkeypatch.setattr(
        fairseq_cli.eval_lm,
        "eval_lm",
        lambda models, **rest: seen.append(dtype_of(models[0])) or {"loss": 0.0, "perplexity": 1.0},
    )
    path = ["--path", trained / "checkpoint_last.pt"]
    fairseq_cli.eval_lm.main(config(monkeypatch, "eval-lm", data, *BLOCKS, *path, *FLAGS[name]))
    assert seen == [scoring]


@pytest.mark.parametrize("name, weights, copy, scoring, on_cpu, on_gpu", TABLE[1:], ids=list(FLAGS)[1:])
def test_training_goes_on_and_is_scored(data, tmp_path, name, weights, copy, scoring, on_cpu, on_gpu):
    nothing_added = [*SMT, *FLAGS[name], "--save-dir", tmp_path, "--best-checkpoint-metric", "rnn_nll"]
    for updates in (2, 4):
        log = fairseq("train", data, *nothing_added, "--max-update", updates)
    assert "num_updates 4" in log and on_cpu != "not run"
    last = float(re.findall(r"rnn_nll ([\d.]+)", log)[-1])
    path = ["--path", tmp_path / "checkpoint_last.pt", "--gen-subset", "valid", "--cpu", *FLAGS[name]]
    assert float(re.search(r"base 2\): ([\d.]+)", fairseq("eval-lm", data, *BLOCKS, *path))[1]) == pytest.approx(
        last, rel=0.02
    )


@pytest.mark.parametrize("flag", ["--fp16", "--memory-efficient-fp16"])
def test_a_gradient_that_overflows_on_cpu(data, tmp_path, flag):
    flags = ["--fp16-init-scale", 2**30, "--max-update", 3, "--save-dir", tmp_path, "--disable-validation"]
    output = fairseq("train", data, *SMT, flag, *flags, ok=False)
    assert "error: a gradient is too large for float16" in output and "--bf16" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert "done training" in fairseq("train", data, *SMT, "--bf16", *flags)


def test_two_halves_are_one_too_many(data, tmp_path):
    output = fairseq("train", data, *SMT, "--fp16", "--bf16", "--max-update", 1, "--save-dir", tmp_path, ok=False)
    assert "error: --fp16 and --bf16 do not go together" in output and "Traceback" not in output
