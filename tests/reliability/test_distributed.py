"""Two processes are one process with --update-freq 2: parameters, schedules, measures, validation."""

import pytest

from tests.support.stages import STAGES, difference, measures, train
from tests.support.training import parameters

BACKENDS = ("legacy_ddp", "pytorch_ddp")
SMALLEST = {
    "test_two_processes_are_one_with_update_freq_2": [(stage, BACKENDS[i % 2]) for i, stage in enumerate(STAGES)],
    "test_two_processes_resume_exactly": [("dmt", "pytorch_ddp")],
}
"""Pairs of a stage and a backend; all with --stress."""

EPOCHS = ["--train-subset", "valid", "--valid-subset", "test", "--validate-interval", 2]
EPOCHS += ["--batch-size", 24, "--max-update", 8, "--clip-norm", 0]
"""Epochs of an odd number of batches, the last one smaller: at their end the second process has nothing to do."""


def pytest_generate_tests(metafunc):
    everything = metafunc.config.getoption("stress")
    pairs = [(s, b) for s in STAGES for b in BACKENDS] if everything else SMALLEST[metafunc.definition.name]
    metafunc.parametrize("stage, backend", pairs, ids=lambda value: value)


def test_two_processes_are_one_with_update_freq_2(data, stage_flags, tmp_path, stage, backend):
    flags = [*stage_flags(stage), *EPOCHS, "--ddp-backend", backend]
    one = train(data, tmp_path / "one", *flags, "--update-freq", 2)
    two = train(data, tmp_path / "two", *flags, processes=2)
    assert difference(parameters(tmp_path / "one"), parameters(tmp_path / "two")) < 1e-6
    found, expected = measures(two), measures(one)
    assert len(found) == len(expected) >= 8
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=2e-3)


def test_two_processes_resume_exactly(data, stage_flags, tmp_path, stage, backend):
    flags = [*stage_flags(stage), *EPOCHS, "--ddp-backend", backend, "--disable-validation"]
    train(data, tmp_path / "whole", *flags, processes=2)
    for updates in (3, 8):
        train(data, tmp_path / "parts", *flags, "--max-update", updates, processes=2)
    assert difference(parameters(tmp_path / "whole"), parameters(tmp_path / "parts")) == 0
