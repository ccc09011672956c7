"""Gradients under autocast are those of float32, whatever passes without gradient come first.

Autocast keeps the half-precision copies of weights. Older releases of torch (2.6, for one) hand a copy that a pass
without gradient has made to the pass with gradient, and the weight behind it learns nothing.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.modules.module import register_module_forward_pre_hook

from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.objectives import (
    ROLLOUTS,
    ChunkedBackpropagation,
    DaggerMemoryTraining,
    SupervisedMemoryTraining,
)
from fairseq_smt.core.teacher import HEADS
from tests.support.toy import FOLLOWERS, T, make_batch, make_modules, parameters

followers = pytest.mark.parametrize("cell", FOLLOWERS)
rollouts = pytest.mark.parametrize("rollout", ROLLOUTS)
backprops = pytest.mark.parametrize(
    ("drift_backprop", "ce_backprop"), [(1, 0), (1, 1), (1, 4), (3, 2), (4, 0), (4, 4), (T, T)]
)
several_passes = pytest.mark.parametrize("passes", [0, 1, 2])
measured = pytest.mark.parametrize("update", [0, 1], ids=["measured", "not measured"])


def easy_batch():
    """Two symbols to read and one to predict: gradients that do not cancel over the batch, whose rounding is small."""
    batch = make_batch((T,) * 16)
    return replace(batch, inputs=batch.inputs % 2, targets=torch.full_like(batch.targets, 3))


def dmt(rollout, drift_backprop, ce_backprop):
    return DaggerMemoryTraining(
        rollout=rollout, chunk=4, drift_backprop=drift_backprop, ce_backprop=ce_backprop, horizon=T
    )


def gradients(objective, cell, head="projection", update=0):
    modules = make_modules(cell, head, memory=(4, 32), width=64)
    objective(modules, easy_batch(), update=update).loss.backward()
    return {name: p.grad for name, p in parameters(modules).items() if p.grad is not None and p.grad.any()}


def assert_autocast_follows_float32(objective, *given):
    expected = gradients(objective, *given)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(objective, *given)
    assert found.keys() == expected.keys() and len(found) > 3
    cosines = {n: float(F.cosine_similarity(found[n].flatten(), g.flatten(), dim=0)) for n, g in expected.items()}
    assert min(cosines.values()) >= 0.999, cosines


@followers
@rollouts
@backprops
def test_dmt_follows_float32(cell, rollout, drift_backprop, ce_backprop):
    assert_autocast_follows_float32(dmt(rollout, drift_backprop, ce_backprop), cell)


@pytest.mark.parametrize("cell", list(CELLS))
@several_passes
def test_chunked_bptt_follows_float32(cell, passes):
    assert_autocast_follows_float32(ChunkedBackpropagation(chunk=4, passes=passes), cell)


@followers
@pytest.mark.parametrize("head", HEADS)
@measured
def test_smt_follows_float32(cell, head, update):
    assert_autocast_follows_float32(SupervisedMemoryTraining(), cell, head, update)


def assert_no_stale_copies(monkeypatch, objective, update=0, training=True):
    """Between a call of a module without gradient and a later one with it, the copies are dropped: in any release."""
    stale, calls = set(), set()

    def called(*_):
        calls.add(torch.is_grad_enabled())
        if not torch.is_grad_enabled():
            stale.add(True)
        assert not (stale and torch.is_grad_enabled())

    monkeypatch.setattr(torch, "clear_autocast_cache", stale.clear)
    hook = register_module_forward_pre_hook(called)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            objective(make_modules(), make_batch(), update=update, training=training)
    finally:
        hook.remove()
    assert True in calls
    return calls


@rollouts
@backprops
@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_copies_are_dropped_in_dmt(monkeypatch, rollout, drift_backprop, ce_backprop, training):
    objective = dmt(rollout, drift_backprop, ce_backprop)
    assert False in assert_no_stale_copies(monkeypatch, objective, training=training)


@several_passes
def test_copies_are_dropped_in_chunked_bptt(monkeypatch, passes):
    calls = assert_no_stale_copies(monkeypatch, ChunkedBackpropagation(chunk=4, passes=passes))
    assert (False in calls) == (passes > 0)


@measured
def test_copies_are_dropped_in_smt(monkeypatch, update):
    calls = assert_no_stale_copies(monkeypatch, SupervisedMemoryTraining(), update)
    assert (False in calls) == (update == 0)
