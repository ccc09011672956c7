"""Logged values: which of two sources wins, and what a picture has room for."""

import pytest

from fairseq_smt.reporting.curves import NAMES, Curves, thinned


def test_another_source_adds_and_wins():
    log, board = Curves(), Curves()
    log.add("train_inner", "loss", 10, 3.0)
    log.add("train_inner", "loss", 20, 2.0)
    log.add("valid", "rnn_nll", 20, 2.5)
    board.add("train_inner", "loss", 20, 2.0001)
    board.add("train_inner", "gnorm", 20, 1.0)
    assert not Curves() and log
    log.update(board)
    assert log.training("loss") == {10: 3.0, 20: 2.0001} and log.training("gnorm") == {20: 1.0}
    assert log.names() == ["loss", "gnorm", "rnn_nll"] and log.validation("loss") == {}


def test_training_is_of_a_few_updates_or_else_of_epochs():
    curves = Curves()
    curves.add("train", "loss", 192, 4.0)
    assert curves.training("loss") == {192: 4.0} and curves.validation("loss") == {}
    curves.add("train_inner", "loss", 20, 5.0)
    curves.add("train_inner", "loss", 10, 6.0)
    assert list(curves.training("loss").items()) == [(10, 6.0), (20, 5.0)]


def test_what_a_file_may_hold_is_bounded():
    curves = Curves()
    for name, update, value in [("<b>", 1, 1.0), ("a", -1, 1.0), ("a", 1, float("nan")), ("a", 1, float("inf"))]:
        curves.add("valid", name, update, value)
    assert not curves.names()
    for i in range(2 * NAMES):
        curves.add("valid", f"name_{i}", 1, 1.0)
    assert len(curves.names()) == NAMES


@pytest.mark.parametrize("length", [0, 1, 149, 150, 151, 1000])
def test_thinning_keeps_the_mean(length):
    series = {10 * i: float(i % 7) for i in range(length)}
    updates, values = thinned(series)
    assert len(updates) == len(values) <= 150 and updates == sorted(updates)
    if length <= 150:
        assert dict(zip(updates, values, strict=True)) == series
    elif length == 1000:
        assert sum(values[:-1]) / len(values[:-1]) == pytest.approx(sum(v for v in series.values()) / length, abs=0.1)
