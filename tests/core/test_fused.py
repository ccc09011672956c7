"""Fused layers equal their plain formulas, in value and gradient."""

import copy

import pytest
import torch
import torch.nn.functional as F

from fairseq_smt.core import fused
from fairseq_smt.core.layers import Attention, Block, rotary_table, rotate

SHAPE = (2, 7, 6)
CASES = [
    ("gelu", []),
    ("rms_norm", []),
    ("rms_norm", [(6,)]),
    *(("causal_convolution", [(taps, 6)]) for taps in (1, 4, 9)),
    ("feed_forward", [(10, 6), (10,), (5, 10), (5,)]),
]
cases = pytest.mark.parametrize(("name", "weights"), CASES)


@pytest.fixture(autouse=True)
def fused_at_any_size(monkeypatch):
    monkeypatch.setattr(fused, "SMALL", 0)
    monkeypatch.setattr(fused, "PIECE", 32)  # 84 numbers: two whole pieces and a part


def arguments(weights, dtype):
    return [(2 * torch.randn(shape, dtype=dtype)).requires_grad_() for shape in (SHAPE, *weights)]


def value_and_gradients(function, inputs):
    y = function(*inputs)
    direction = torch.linspace(-1, 1, y.numel()).view_as(y).to(y.dtype)
    return y, *torch.autograd.grad(y, inputs, direction)


@cases
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fused_equals_plain(name, weights, dtype):
    inputs = arguments(weights, dtype)
    found = value_and_gradients(getattr(fused, name), inputs)
    expected = value_and_gradients(getattr(fused, f"plain_{name}"), inputs)
    assert type(found[0].grad_fn) is not type(expected[0].grad_fn)
    torch.testing.assert_close(found, expected)


@cases
def test_gradients_are_those_of_finite_differences(name, weights):
    assert torch.autograd.gradcheck(getattr(fused, name), arguments(weights, torch.float64))


@cases
def test_inputs_may_be_strided_and_without_gradient(name, weights):
    x, *rest = arguments(weights, torch.float64)
    x = x.detach().transpose(0, 1).contiguous().transpose(0, 1)
    for inputs in ([x.requires_grad_(), *rest], [x.detach(), *(w.requires_grad_() for w in rest)]):
        wanted = [z for z in inputs if z.requires_grad]
        found, expected = (getattr(fused, f"{kind}{name}")(*inputs) for kind in ("", "plain_"))
        torch.testing.assert_close(found, expected)
        if wanted:
            found, expected = (torch.autograd.grad(y.square().sum(), wanted) for y in (found, expected))
            torch.testing.assert_close(found, expected)


@cases
def test_half_precision_takes_the_plain_formula(name, weights):
    inputs = arguments(weights, torch.bfloat16)
    found, expected = (getattr(fused, f"{kind}{name}")(*inputs) for kind in ("", "plain_"))
    assert found.dtype == expected.dtype and torch.equal(found, expected)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
def test_a_block_equals_one_of_plain_formulas(monkeypatch, autocast):
    block = Block(8, 2, causal=True, convolution=4)
    x = torch.randn(3, 9, 8)
    rotary = rotary_table(9, 4, x)

    def run():
        one, given = copy.deepcopy(block), x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = one(given, rotary)
        y.square().sum().backward()
        return [y, given.grad, *(p.grad for p in one.parameters())]

    found = run()
    monkeypatch.setattr(fused, "SMALL", 1 << 30)
    expected = run()
    assert [z.dtype for z in found] == [z.dtype for z in expected]
    torch.testing.assert_close(found, expected, **({"atol": 0.5, "rtol": 0.05} if autocast else {}))


@pytest.mark.parametrize("causal", [True, False])
def test_attention_equals_one_that_rotates_halves(causal):
    attention = Attention(24, 3, causal).double()
    x = torch.randn(2, 5, 24, dtype=torch.float64, requires_grad=True)
    rotary = rotary_table(5, 8, x)

    def plain(x):
        q, k, v = attention.qkv(x).view(2, 5, 3, 3, 8).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotate(q, rotary), rotate(k, rotary), v, is_causal=causal)
        return attention.out(y.transpose(1, 2).flatten(2))

    inputs = [x, *attention.parameters()]
    ours, theirs = attention(x, rotary), plain(x)
    torch.testing.assert_close(ours, theirs)
    found, expected = (torch.autograd.grad(y.square().sum(), inputs) for y in (ours, theirs))
    torch.testing.assert_close(found, expected)


def test_a_block_compiles_to_one_graph():
    block, x = Block(8, 2, causal=True, convolution=4), torch.randn(3, 9, 8)
    explained = torch._dynamo.explain(block)(x, rotary_table(9, 4, x))
    assert explained.graph_break_count == 0, explained.break_reasons
