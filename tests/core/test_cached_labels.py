"""Objectives on labels that come with the batch: what they are with a live teacher, without one."""

from dataclasses import replace

import pytest
import torch

from fairseq_smt.core.interface import Modules
from fairseq_smt.core.objectives import ROLLOUTS, DaggerMemoryTraining, SupervisedMemoryTraining
from fairseq_smt.core.teacher import HEADS
from tests.support.toy import FOLLOWERS, gradient_size, make_batch, make_modules

heads = pytest.mark.parametrize("head", HEADS)
modes = pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])


def with_labels(modules, batch):
    return replace(batch, labels=modules.teacher.labels(batch.inputs, batch.real).detach())


def same(a, b, names):
    for name in names:
        torch.testing.assert_close(a.measures[name], b.measures[name], msg=lambda m, name=name: f"{name}: {m}")


@heads
@pytest.mark.parametrize("rollout", ROLLOUTS)
@modes
def test_dmt_is_the_same_without_its_teacher(head, rollout, training):
    modules, batch = make_modules(head=head), make_batch((10, 7, 3, 1))
    objective = DaggerMemoryTraining(rollout=rollout, chunk=4)
    live = objective(modules, batch, update=3, training=training)
    cached = objective(Modules(modules.rnn), with_labels(modules, batch), update=3, training=training)
    torch.testing.assert_close(cached.loss, live.loss)
    assert cached.measures.keys() == live.measures.keys()
    same(cached, live, live.measures)


@pytest.mark.parametrize("cell", FOLLOWERS)
@modes
def test_smt_is_the_same_but_for_trunk_and_future(cell, training):
    modules, batch = make_modules(cell), make_batch((10, 7, 3, 1))
    objective = SupervisedMemoryTraining(future_weight=0.0, trunk_weight=0.0, pursuit_weight=0.1)
    modules.teacher.requires_grad_(False)
    live = objective(modules, batch, update=10, training=training)
    cached = objective(Modules(modules.rnn), with_labels(modules, batch), update=10, training=training)
    torch.testing.assert_close(cached.loss, live.loss)
    assert cached.measures.keys() == live.measures.keys()
    left_out = {"trunk_nll", "future_nll", "shuffled_nll"}
    same(cached, live, live.measures.keys() - left_out)
    assert all(cached.measures[name][1] == 0 for name in left_out)
    cached.loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in modules.rnn.parameters())


@pytest.mark.parametrize("objective", [DaggerMemoryTraining(), SupervisedMemoryTraining()], ids=["dmt", "smt"])
def test_labels_of_less_precision_do_not_change_the_models(objective):
    modules, batch = make_modules(), make_batch()
    exact = with_labels(modules, batch)
    rounded = objective(Modules(modules.rnn), replace(exact, labels=exact.labels.half()))
    torch.testing.assert_close(rounded.loss, objective(Modules(modules.rnn), exact).loss, atol=2e-3, rtol=2e-3)
    rounded.loss.backward()
    assert gradient_size(modules.rnn) > 0 and gradient_size(modules.teacher) == 0


@heads
def test_every_transition_trains_the_cell_whatever_the_head(head):
    """A window teacher labels a few pairs alone; out of a cache come all positions."""
    modules, batch = make_modules(head=head), make_batch()
    terms = SupervisedMemoryTraining(dynamics_positions=0)(Modules(modules.rnn), with_labels(modules, batch))
    assert terms.measures["dynamics"][1] == batch.real.sum()
