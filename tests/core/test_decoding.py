"""The decoding loss in pieces against the plain formula, and what it holds at once."""

import pytest
import torch
from torch import nn

from fairseq_smt.core import decoding
from fairseq_smt.core.decoding import decode, decode_at_once
from fairseq_smt.core.objectives import ChunkedBackpropagation, DaggerMemoryTraining, SupervisedMemoryTraining
from tests.support.operations import Operations
from tests.support.toy import V, make_batch, make_modules, parameters

ROWS, WIDTH, VOCABULARY = 14, 6, 11
MASKS = {"all": torch.ones(2, 7).bool(), "none": torch.zeros(2, 7).bool(), "some": torch.arange(14).view(2, 7) % 3 > 0}
masks = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
pieces = pytest.mark.parametrize("logits", [1, 3 * VOCABULARY, 5 * VOCABULARY, 13 * VOCABULARY])


def setup(mask, dtype=torch.float32):
    head = nn.Linear(WIDTH, VOCABULARY).to(dtype)
    features = torch.randn(2, 7, WIDTH).to(dtype).requires_grad_()
    targets = torch.randint(VOCABULARY, (2, 7)).masked_fill(~mask, -100)
    return head, features, targets


def compared(function, head, features, targets, mask, scale=0.3):
    total, nll, predicted = function(head, features, targets, mask, predict=True)
    leaves = [x for x in (features, head.weight, head.bias) if x.requires_grad]
    return total, nll, predicted, *torch.autograd.grad(total * scale, leaves)


@masks
@pieces
def test_pieces_equal_the_plain_formula(monkeypatch, mask, logits):
    given = setup(mask)
    expected = compared(decode_at_once, *given, mask)
    monkeypatch.setattr(decoding, "LOGITS", logits)
    torch.testing.assert_close(compared(decode, *given, mask), expected)


@pytest.mark.parametrize("frozen", ["features", "head", "bias"])
def test_what_is_frozen_gets_no_gradient(monkeypatch, frozen):
    mask = MASKS["some"]
    head, features, targets = setup(mask)
    {"features": features, "head": head, "bias": head.bias}[frozen].requires_grad_(False)
    expected = compared(decode_at_once, head, features, targets, mask)
    monkeypatch.setattr(decoding, "LOGITS", 40)
    torch.testing.assert_close(compared(decode, head, features, targets, mask), expected)
    with torch.no_grad():
        assert not decode(head, features, targets, mask)[0].requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_loses_no_more_than_the_plain_formula_does(monkeypatch, dtype):
    mask = MASKS["some"]
    given = setup(mask, dtype)
    expected = compared(decode_at_once, *given, mask)
    monkeypatch.setattr(decoding, "LOGITS", 40)
    found = compared(decode, *given, mask)
    assert [x.dtype for x in found] == [x.dtype for x in expected]
    torch.testing.assert_close(found[:3], expected[:3])
    torch.testing.assert_close(found[3:], expected[3:], atol=0.02, rtol=0.02)


def test_autocast_is_that_of_the_plain_formula(monkeypatch):
    mask = MASKS["some"]
    given = setup(mask)
    with torch.autocast("cpu", torch.bfloat16):
        expected = compared(decode_at_once, *given, mask)
        monkeypatch.setattr(decoding, "LOGITS", 40)
        found = compared(decode, *given, mask)
    assert [x.dtype for x in found] == [x.dtype for x in expected]
    torch.testing.assert_close(found[:3], expected[:3])
    torch.testing.assert_close(found[3:], expected[3:], atol=0.01, rtol=0.02)


@pytest.mark.parametrize(
    "objective",
    [SupervisedMemoryTraining(readout_positions=9), DaggerMemoryTraining(chunk=4), ChunkedBackpropagation(chunk=4)],
    ids=lambda x: type(x).__name__,
)
@pytest.mark.parametrize("future", ["window", "far"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_every_objective_is_the_same_in_pieces(monkeypatch, objective, future, training):
    batch, found = make_batch((10, 7, 3, 1)), []
    batch.scored = batch.asked & (torch.arange(10) % 2 == 0)
    for logits in (decoding.LOGITS, 2 * V):
        monkeypatch.setattr(decoding, "LOGITS", logits)
        modules = make_modules(future=future)
        terms = objective(modules, batch, training=training)
        terms.loss.backward()
        found.append((terms.loss, terms.measures, {name: p.grad for name, p in parameters(modules).items()}))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("function, rows", [(decode, 50), (decode_at_once, 600)], ids=["in pieces", "plain"])
def test_no_more_logits_than_allowed_exist_at_once(monkeypatch, function, rows):
    vocabulary = 1000
    monkeypatch.setattr(decoding, "LOGITS", 50 * vocabulary)
    head, features = nn.Linear(WIDTH, vocabulary), torch.randn(600, WIDTH, requires_grad=True)
    targets = torch.randint(vocabulary, (600,))
    with Operations() as done:
        function(head, features, targets, targets > 9, predict=True)[0].backward()
    assert max(done.sizes) == rows * vocabulary
