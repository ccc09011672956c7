"""The timing of benchmarks: rounds go over all cases in turn, and the first one is not counted."""

import pytest
import torch

from timing import medians, rounds, seconds

CPU = torch.device("cpu")


def test_rounds_are_interleaved_after_one_that_warms_up(capsys):
    calls = []
    found = rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, CPU, 3, 0.0, "calls")
    assert calls == ["a", "b"] * 4
    assert [len(values) for values in found.values()] == [3, 3]
    assert capsys.readouterr().err.splitlines()[-1] == "calls: round 3 of 3"
    assert medians({"a": [3.0, 1.0, 2.0]}) == {"a": 2.0}


def test_seconds_are_of_one_call_among_as_many_as_the_least_time_needs(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("timing.time.process_time", lambda: now[0])

    def run():
        now[0] += 0.25

    assert seconds(run, CPU, 0.0) == 0.25
    started = now[0]
    assert seconds(run, CPU, 1.0) == pytest.approx(0.25) and now[0] - started == 1.0
