"""The parallel scan against the loop that is its specification."""

import pytest
import torch

from fairseq_smt.core.scan import gated_scan, parallel_scan, sequential_scan


def inputs(length, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(3, length, 5, generator=generator, dtype=torch.float64) for _ in range(2)]
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    return [x.to(dtype).requires_grad_() for x in (draw[0].sigmoid(), draw[1], start)]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 8, 13, 64])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, {}), (torch.float32, {}), (torch.bfloat16, dict(atol=0.2, rtol=0.05))],
    ids=str,
)
def test_parallel_and_sequential_scans_agree(length, dtype, tolerance):
    weight = torch.randn(3, length, 5, dtype=torch.float64).to(dtype)
    found = []
    for scan in (sequential_scan, parallel_scan):
        given = inputs(length, dtype)
        states = scan(*given)
        (states * weight).sum().backward()
        found.append([states, *(x.grad for x in given)])
    for expected, got in zip(*found, strict=True):
        if length or expected is not None:  # the loop leaves gates and start out where there is no position
            torch.testing.assert_close(got, expected, **tolerance)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_gradients_are_those_of_finite_differences(length):
    assert torch.autograd.gradcheck(parallel_scan, inputs(length))


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_each_input_alone_gets_its_gradient(kept):
    expected, found = (inputs(7) for _ in "ab")
    for given, scan in ((expected, sequential_scan), (found, parallel_scan)):
        for i, x in enumerate(given):
            x.requires_grad_(i == kept)
        scan(*given).square().sum().backward()
    torch.testing.assert_close(found[kept].grad, expected[kept].grad)


def test_autocast_changes_nothing():
    given = inputs(9, torch.float32)
    plain = parallel_scan(*given)
    with torch.autocast("cpu", torch.bfloat16):
        states = parallel_scan(*given)
        states.sum().backward()
    assert states.dtype == torch.float32 and torch.equal(states, plain)
    assert all(x.grad.dtype == torch.float32 for x in given)


def saved(scan, length):
    """Floats that the backward pass of a scan holds, over those of the states."""
    given, storages = inputs(length), {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: storages.setdefault(x.untyped_storage().data_ptr(), x), lambda x: x
    ):
        states = scan(*given)
    return sum(x.untyped_storage().nbytes() for x in storages.values()) / states.untyped_storage().nbytes()


@pytest.mark.parametrize("length", [64, 512])
def test_the_parallel_scan_holds_no_more_than_the_loop(length):
    assert saved(parallel_scan, length) <= saved(sequential_scan, length) + 0.1 <= 2.2


def test_a_closed_gate_keeps_and_an_open_one_replaces():
    keep = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    write = torch.tensor([[[0.0, 5.0], [0.0, 7.0]]])
    for scan in (sequential_scan, parallel_scan, gated_scan):
        assert scan(keep, write, torch.tensor([3.0, 3.0])).tolist() == [[[3.0, 5.0], [3.0, 7.0]]]
