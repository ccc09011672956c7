"""Diagnostics along a block against plain loops."""

import pytest
import torch
import torch.nn.functional as F

from fairseq_smt.core.diagnostics import (
    PrincipalAxes,
    drift_by_horizon,
    effective_rank,
    label_gradients,
    label_variance,
    loss_by_position,
    spectrum,
    unrolled_gradients,
)
from fairseq_smt.core.interface import Batch
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from fairseq_smt.core.random import Draws
from tests.support.toy import V, make_batch, make_modules


def rows_of(batch):
    return [(b, int(batch.real[b].sum())) for b in range(len(batch.inputs))]


@pytest.mark.parametrize("cell", ["mlp", "gru", "transformer"])
def test_gradients_of_bptt_equal_a_loop(cell):
    rnn, batch = make_modules(cell).rnn, make_batch((10, 7, 10, 1))
    expected = torch.zeros(batch.inputs.shape)
    for b, length in rows_of(batch):
        memory, memories, total = rnn.initial(1), [], torch.zeros(())
        for t in range(length):
            logits, memory = rnn.step(batch.inputs[b, t : t + 1], memory)
            memory.retain_grad()
            memories.append(memory)
            if batch.asked[b, t]:
                total = total + F.cross_entropy(logits, batch.targets[b, t : t + 1])
        if total.requires_grad:
            total.backward()
        for t, memory in enumerate(memories):
            expected[b, t] = 0 if memory.grad is None else memory.grad.norm()
    torch.testing.assert_close(unrolled_gradients(rnn, batch).float(), expected, rtol=1e-4, atol=1e-5)
    rnn.requires_grad_(False)  # a frozen model has the same
    torch.testing.assert_close(unrolled_gradients(rnn, batch).float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("future", ["window", "far"])
@pytest.mark.parametrize("detach", ["none", "source", "target", "both"])
def test_gradients_of_smt_equal_a_loop(future, detach):
    modules, batch = make_modules(future=future), make_batch((10, 7, 10, 1))
    objective = SupervisedMemoryTraining(0.5, 0.7, 1.0, 0.3, 0.2, detach=detach, seed=3)
    labels = modules.teacher.labels(batch.inputs).detach().requires_grad_()
    rnn, predictor = modules.rnn, modules.future
    (rows, length), wanted = batch.inputs.shape, predictor.futures
    eligible = predictor.eligible(batch.real, batch.asked)
    drawn = Draws(3, 0, batch.ids)("future target", length * wanted).view(rows, length, wanted)
    decoding, transitions, total = [], [], torch.zeros(())
    for b, t in batch.real.nonzero().tolist():
        memory, inputs, asked = labels[b, t][None], batch.inputs[b : b + 1], batch.asked[b : b + 1]
        if eligible[b, t]:
            at = torch.tensor([[t]])
            s, mask = predictor.targets_for(at, asked, drawn[b, t][None])
            logits = predictor(memory[None], inputs, at, s)[0, 0]
            decoding += [
                F.cross_entropy(logits[i], batch.targets[b, s[0, 0, i]]) for i in range(wanted) if mask[0, 0, i]
            ]
        if batch.asked[b, t]:
            total = total + 0.7 * F.cross_entropy(rnn.readout(memory)[0], batch.targets[b, t])
        before = labels[b, t - 1][None] if t else rnn.initial(1)
        prediction = rnn.cell(before, rnn.cell.inputs(inputs[:, t]))
        detached = rnn.cell(before.detach(), rnn.cell.inputs(inputs[:, t]))
        symmetric = (detached if detach in ("source", "both") else prediction) - (
            memory.detach() if detach in ("target", "both") else memory
        )
        total = total + 0.3 * symmetric.square().mean()
        pursued = detached if detach in ("source", "both") else prediction
        transitions.append((pursued - memory.detach()).square().mean())
    total = total + 0.5 * sum(decoding) / len(decoding) * eligible.sum()
    worst = sorted(transitions, key=float)[-1:]  # 1/32 of 40 positions
    total = total + 0.2 * (sum(transitions) / len(transitions) + worst[0]) * len(transitions)
    total.backward()
    found = label_gradients(modules, batch, labels, objective)
    torch.testing.assert_close(found.float(), labels.grad.flatten(2).norm(dim=2))


def test_a_target_at_the_end_reaches_labels_evenly_and_unrolled_memories_not():
    modules, length = make_modules(future="far"), 256
    tokens = torch.randint(V, (4, length))
    last = torch.arange(length).expand(4, -1) == length - 1
    batch = Batch(tokens, tokens, torch.ones_like(last), last, torch.arange(4))
    bptt = unrolled_gradients(modules.rnn, batch).mean(0)
    smt = label_gradients(modules, batch, modules.teacher.labels(tokens), SupervisedMemoryTraining()).mean(0)
    assert smt.max() / smt.min() < 10 < 1000 < bptt.max() / bptt.min()


def test_drift_and_loss_by_position_equal_loops():
    batch = make_batch((10, 7, 10, 1))
    memories, labels = torch.randn(2, 4, 10, 2, 3).unbind()
    logits = torch.randn(4, 10, V)
    drift, count = drift_by_horizon(memories, labels, batch.real)
    loss, asked = loss_by_position(logits, batch.targets, batch.asked)
    for t in range(10):
        reached = [b for b in range(4) if batch.real[b, t]]
        expected = sum(float((memories[b, t] - labels[b, t]).square().mean()) for b in reached)
        assert drift[t] == pytest.approx(expected) and count[t] == len(reached)
        reached = [b for b in range(4) if batch.asked[b, t]]
        expected = sum(float(F.cross_entropy(logits[b, t], batch.targets[b, t])) for b in reached)
        assert loss[t] == pytest.approx(expected) and asked[t] == len(reached)


def test_principal_axes_are_the_directions_of_the_largest_variance():
    memories = torch.randn(50, 2, 3) * torch.tensor([5.0, 1, 0.3]) + 2
    axes = PrincipalAxes.of(memories)
    rows = memories.flatten(1).double()
    eigenvalues, vectors = torch.linalg.eigh(torch.cov(rows.T, correction=0))
    torch.testing.assert_close(axes.explained, eigenvalues.flip(0)[:2] / eigenvalues.sum())
    for axis, vector in zip(axes.axes, vectors.T.flip(0), strict=False):
        sign = 1 if axis @ vector > 0 else -1
        torch.testing.assert_close(axis, sign * vector)
    for seen in (axes, *(PrincipalAxes.of(torch.randn(9, 2, 3)) for _ in range(8))):
        assert all(axis[axis.abs().argmax()] > 0 for axis in seen.axes)
    expected = torch.tensor([[(row - rows.mean(0)) @ axis for axis in axes.axes] for row in rows])
    torch.testing.assert_close(axes.project(memories), expected)
    torch.testing.assert_close(axes.explained_of(memories), axes.explained)


@pytest.mark.parametrize("number, n", [(1, 2), (3, 2), (2, 8)], ids=["one memory", "equal", "more axes than rows"])
def test_principal_axes_of_few_memories_are_finite(number, n):
    memories = torch.arange(6.0).view(1, 2, 3).expand(number, -1, -1).clone()
    if n == 8:
        memories[1] += 1
    axes = PrincipalAxes.of(memories, n)
    assert axes.axes.shape == (n, 6) and axes.project(memories).shape == (number, n)
    assert axes.explained.tolist() == pytest.approx([float(n == 8)] + [0] * (n - 1))
    assert axes.explained_of(memories[:1]).tolist() == [0] * n


def test_the_spectrum_has_the_label_variance_and_the_effective_rank():
    rows = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([3.0, 1.0, 0.1])
    values = spectrum(rows)
    assert values.shape == (6,) and values.tolist() == sorted(values.tolist(), reverse=True)
    variance = label_variance(rows[None], torch.ones(1, 50, dtype=torch.bool))
    torch.testing.assert_close(values.mean().float(), variance)
    shares = values / values.sum()
    torch.testing.assert_close(torch.special.entr(shares).sum().exp().float(), effective_rank(rows))
    torch.testing.assert_close(values, torch.linalg.svdvals((rows - rows.mean(0)).flatten(1).double()).square() / 50)
    assert spectrum(rows[:1]).tolist() == [0.0] * 6 and spectrum(rows[:, :1, :1]).shape == (1,)
