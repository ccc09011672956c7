"""Half precision ends where float32 does, on the tiny recipes.

`--amp` is not among them: on a CPU fairseq's autocast does nothing. Autocast itself: tests/core/test_autocast.py.
"""

import re

import pytest

from tests.support.recipes import hydra

PRECISIONS = {
    "fp16": ["common.fp16=true"],
    "memory-efficient-fp16": ["common.fp16=true", "common.memory_efficient_fp16=true"],
    "bf16": ["common.bf16=true"],
}
MEASURES = {"smt": ("loss", "ceiling_nll", "rnn_nll"), "dmt": ("loss", "rnn_nll")}
SMALLEST = [("fp16", "smt"), ("memory-efficient-fp16", "dmt"), ("bf16", "smt"), ("bf16", "dmt")]
"""Pairs of a precision and a stage; all with --stress."""


def trained_in(data, folder, stage, *overrides) -> dict[str, float]:
    """The last validation of the tiny recipe of a stage, whole."""
    whole = ["dataset.batch_size=8", "dataset.batch_size_valid=64", "dataset.disable_validation=false"]
    hydra(folder, f"smt_lm model=tiny training={stage}", data, *whole, "checkpoint.no_save=true", *overrides)
    last = [line for line in (folder / "hydra_train.log").read_text().splitlines() if "| valid on " in line][-1]
    return {key: float(re.search(rf"\| {key} ([\d.]+)", last)[1]) for key in MEASURES[stage]}


@pytest.fixture(scope="module")
def checkpoint_of_smt(data, tmp_path_factory):
    return hydra(tmp_path_factory.mktemp("smt"), "smt_lm model=tiny", data, "dataset.batch_size=8")


@pytest.fixture(scope="module")
def in_float32(data, checkpoint_of_smt, tmp_path_factory):
    """Overrides that make a stage, and its measures in float32."""
    start = {"smt": [], "dmt": [f"checkpoint.finetune_from_model={checkpoint_of_smt}"]}
    return {s: (o, trained_in(data, tmp_path_factory.mktemp(s), s, *o)) for s, o in start.items()}


def pytest_generate_tests(metafunc):
    everything = metafunc.config.getoption("stress")
    pairs = [(p, s) for p in PRECISIONS for s in MEASURES] if everything else SMALLEST
    metafunc.parametrize("precision, stage", pairs, ids=lambda value: value)


def test_half_precision_is_within_two_percent(data, in_float32, tmp_path, precision, stage):
    overrides, expected = in_float32[stage]
    found = trained_in(data, tmp_path, stage, *overrides, *PRECISIONS[precision])
    print(f"{precision}, {stage}: {found} (float32: {expected})")
    assert found == pytest.approx(expected, rel=0.02)
