"""Losses and diagnostics against loops and closed forms."""

import math

import pytest
import torch

from fairseq_smt.core import losses
from fairseq_smt.core.diagnostics import effective_rank, horizons, label_variance

NAMES = ["equal", "equal and wide", "one row", "no rows"]
HALF = [torch.float16, torch.bfloat16]
MASKS = {
    "all": torch.ones(2, 5, dtype=torch.bool),
    "some": torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 1, 0]]).bool(),
    "none": torch.zeros(2, 5, dtype=torch.bool),
}
masks = pytest.mark.parametrize("mask", list(MASKS.values()), ids=list(MASKS))


def memories(seed, dtype=torch.float32):
    return torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed)).to(dtype)


@masks
def test_cross_entropy_equals_loop(mask):
    logits = torch.randn(2, 5, 7, requires_grad=True)
    targets = torch.randint(7, (2, 5)).masked_fill(~mask, -100)
    total, count = losses.cross_entropy(logits, targets, mask)
    expected = torch.zeros(())
    for b, t in mask.nonzero().tolist():
        expected = expected - logits[b, t].log_softmax(-1)[targets[b, t]]
    torch.testing.assert_close(total, expected)
    assert count == mask.sum()
    mean = losses.mean_of(total, count)
    assert mean.isfinite()
    mean.backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[~mask] == 0).all()


@masks
def test_dynamics_equals_loop(mask):
    prediction, label = memories(1).requires_grad_(), memories(2).requires_grad_()
    total, count = losses.dynamics(prediction, label, mask)
    expected = torch.zeros(())
    for b, t in mask.nonzero().tolist():
        expected = expected + (prediction[b, t] - label[b, t]).square().sum() / 12
    torch.testing.assert_close(total, expected)
    assert count == mask.sum()
    losses.mean_of(total, count).backward()
    torch.testing.assert_close(prediction.grad, -label.grad)
    assert (prediction.grad[~mask] == 0).all()


@masks
@pytest.mark.parametrize("worst", [1 / 32, 0.3, 1.0])
def test_pursuit_equals_loop(mask, worst):
    prediction, label = memories(1).requires_grad_(), memories(2).requires_grad_()
    loss = losses.pursuit(prediction, label, mask, worst)
    errors = [(prediction[b, t] - label[b, t]).square().mean().item() for b, t in mask.nonzero().tolist()]
    k = max(1, int(10 * worst))
    largest = sorted(errors, reverse=True)[:k]
    expected = sum(errors) / max(len(errors), 1) + sum(largest) / max(len(largest), 1)
    torch.testing.assert_close(loss, torch.tensor(expected))
    loss.backward()
    assert label.grad is None
    assert prediction.grad.isfinite().all() and (prediction.grad[~mask] == 0).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_uniformity_equals_double_loop(temperature):
    tokens = torch.randn(9, 4)
    unit = [row / row.norm() for row in tokens]
    terms = [math.exp(-temperature * (unit[a] - unit[b]).square().sum()) for a in range(9) for b in range(a)]
    expected = math.log(sum(terms) / len(terms))
    torch.testing.assert_close(losses.uniformity(tokens, temperature), torch.tensor(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (torch.eye(2), -4.0),
        (torch.tensor([[1.0, 0.0], [-3.0, 0.0]]), -8.0),
        (torch.ones(4, 3), 0.0),
        (torch.ones(1, 3), 0.0),
        (torch.ones(0, 3), 0.0),
    ],
    ids=["orthogonal", "opposite", "equal", "one row", "no rows"],
)
def test_uniformity_closed_forms(tokens, expected):
    tokens = tokens.requires_grad_()
    loss = losses.uniformity(tokens)
    torch.testing.assert_close(loss, torch.tensor(expected), atol=1e-5, rtol=1e-5)
    loss.backward()
    assert tokens.grad.isfinite().all()


@pytest.mark.parametrize("kept", [0, 1, 2, 5, 9])
def test_uniformity_of_masked_in_tokens_equals_that_of_these_alone(kept):
    tokens, mask = torch.randn(9, 4, requires_grad=True), torch.arange(9) < kept
    loss, alone = losses.uniformity(tokens, mask=mask), losses.uniformity(tokens[:kept])
    torch.testing.assert_close(loss, alone)
    found, expected = (torch.autograd.grad(x, tokens)[0] for x in (loss, alone))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_losses_are_float32(dtype):
    mask, a, b = MASKS["some"], memories(1, dtype), memories(2, dtype)
    logits, targets = torch.randn(2, 5, 7).to(dtype), torch.randint(7, (2, 5))
    results = [
        losses.cross_entropy(logits, targets, mask)[0],
        losses.dynamics(a, b, mask)[0],
        losses.pursuit(a, b, mask),
        losses.uniformity(a.flatten(0, 2)),
        losses.uniformity(a[0, 0, :1]),
        label_variance(a, mask),
        effective_rank(a[0]),
    ]
    for result in results:
        assert result.dtype == torch.float32 and result.isfinite()
    torch.testing.assert_close(results[1], losses.dynamics(a.float(), b.float(), mask)[0])


def test_label_variance_equals_plain_variance():
    labels, mask = memories(1), MASKS["some"]
    expected = labels[mask].flatten(1).var(0, unbiased=False).mean()
    torch.testing.assert_close(label_variance(labels, mask), expected)
    labels[~mask] = 1e6
    torch.testing.assert_close(label_variance(labels, mask), expected)


def test_label_variance_closed_forms():
    signs = torch.tensor([[1.0, -1.0]])[..., None, None].expand(1, 2, 3, 4)
    both, one = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    assert label_variance(signs, both) == 1
    assert label_variance(signs, one) == 0
    assert label_variance(signs, ~both) == 0


def test_diagnostics_have_no_gradient():
    labels = memories(1).requires_grad_()
    assert not label_variance(labels, MASKS["all"]).requires_grad
    assert not effective_rank(labels[0]).requires_grad


@pytest.mark.parametrize("rank", [1, 2, 6])
def test_effective_rank_of_isotropic_rows(rank):
    axes = torch.eye(6)[:rank]
    rows = torch.cat((axes, -axes))
    torch.testing.assert_close(effective_rank(rows), torch.tensor(float(rank)), atol=1e-3, rtol=1e-3)
    basis = torch.linalg.qr(torch.randn(6, 6)).Q
    torch.testing.assert_close(effective_rank(rows @ basis + 3), torch.tensor(float(rank)), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_effective_rank_of_orthonormal_rows(n):
    """Centring n orthonormal rows leaves n - 1 equal eigenvalues."""
    rows = torch.eye(8)[:n].view(n, 2, 4)
    torch.testing.assert_close(effective_rank(rows), torch.tensor(n - 1.0), atol=1e-3, rtol=1e-3)


def test_effective_rank_of_two_unequal_axes():
    rows = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    expected = math.exp(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))
    torch.testing.assert_close(effective_rank(rows), torch.tensor(expected), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("rows", [torch.ones(8, 3), torch.ones(2, 30), torch.randn(1, 5), torch.zeros(0, 5)], ids=NAMES)
def test_effective_rank_of_nothing_is_zero(rows):
    assert effective_rank(rows) == 0


@pytest.mark.parametrize(("length", "expected"), [(0, []), (1, [1]), (15, [1, 4]), (64, [1, 4, 16, 64])])
def test_horizons(length, expected):
    assert horizons(length) == expected


def test_effective_rank_of_broken_rows_is_nan():
    assert effective_rank(torch.full((4, 3), torch.inf)).isnan()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_effective_rank_of_rows_that_count(count):
    rows, mask = torch.randn(9, 2, 3), torch.arange(9) < count
    expected = effective_rank(rows[mask])
    rows[count:] = torch.nan
    torch.testing.assert_close(effective_rank(rows, mask), expected)
