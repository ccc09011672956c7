"""The parallel scan against the loop that is its specification."""

import pytest
import torch

from fairseq_smt.core.scan import gated_scan, parallel_scan, sequential_scan


def inputs(length):
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(3, length, 5, generator=generator, dtype=torch.float64) for _ in range(2)]
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    return [x.requires_grad_() for x in (draw[0].sigmoid(), draw[1], start)]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 8, 13, 64])
def test_parallel_and_sequential_scans_agree(length):
    weight = torch.randn(3, length, 5, dtype=torch.float64)
    found = []
    for scan in (sequential_scan, parallel_scan):
        given = inputs(length)
        states = scan(*given)
        (states * weight).sum().backward()
        found.append([states, *(x.grad for x in given)])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected)


def test_a_closed_gate_keeps_and_an_open_one_replaces():
    keep = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    write = torch.tensor([[[0.0, 5.0], [0.0, 7.0]]])
    for scan in (sequential_scan, parallel_scan, gated_scan):
        assert scan(keep, write, torch.tensor([3.0, 3.0])).tolist() == [[[3.0, 5.0], [3.0, 7.0]]]
