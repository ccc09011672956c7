"""Keyed draws: the same numbers for the same seed, update and sample id."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_smt.core.random import draw_positions, gather, gather_all, keyed_uniform, row_hash

IDS = torch.tensor([0, 1, 5, 7, 123456789, 2**40])


def test_uniform_range_and_moments():
    x = keyed_uniform(1, 2, 3, torch.arange(200), 500)
    assert x.shape == (200, 500) and x.dtype == torch.float32
    assert x.min() >= 0 and x.max() < 1
    assert abs(x.mean() - 0.5) < 0.005
    assert abs(x.var() - 1 / 12) < 0.002
    assert (torch.histc(x, 10, 0, 1) / x.numel() - 0.1).abs().max() < 0.005


def test_uniform_neighbours_are_uncorrelated():
    x = keyed_uniform(1, 2, 3, torch.arange(200), 500) - 0.5
    for a, b in ((x[1:], x[:-1]), (x[:, 1:], x[:, :-1])):
        assert abs((a * b).mean() * 12) < 0.02


@pytest.mark.parametrize("other", [(2, 5, 3), (1, 6, 3), (1, 5, 4)], ids=["seed", "update", "stream"])
def test_uniform_depends_on_the_key(other):
    a, b = keyed_uniform(1, 5, 3, IDS, 50), keyed_uniform(*other, IDS, 50)
    assert (a == b).float().mean() < 0.05


def test_uniform_depends_on_the_id():
    x = keyed_uniform(1, 5, 3, IDS, 50)
    assert len({tuple(row) for row in x.tolist()}) == len(IDS)


def test_uniform_does_not_confuse_update_and_stream():
    assert not torch.equal(keyed_uniform(1, 2, 3, IDS, 8), keyed_uniform(1, 3, 2, IDS, 8))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**62])
def test_uniform_is_independent_of_the_batch(seed):
    together = keyed_uniform(seed, 4, 2, IDS, 9)
    assert torch.equal(keyed_uniform(seed, 4, 2, IDS.flip(0), 9), together.flip(0))
    for i in range(len(IDS)):
        assert torch.equal(keyed_uniform(seed, 4, 2, IDS[i : i + 1], 9)[0], together[i])


def test_uniform_of_nothing():
    assert keyed_uniform(1, 1, 1, IDS, 0).shape == (6, 0)
    assert keyed_uniform(1, 1, 1, IDS[:0], 4).shape == (0, 4)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_draw_handles_any_number_of_eligible_positions(n):
    mask = torch.tensor([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]).bool()
    positions, valid = draw_positions(mask, keyed_uniform(1, 0, 0, torch.arange(3), n))
    assert positions.shape == valid.shape == (3, n)
    assert valid[0].all() and valid[2].all() and not valid[1].any()
    assert mask[0, positions[0]].all() and (positions[2] == 4).all()
    if n == 20:
        assert set(positions[0].tolist()) == {1, 2, 4}


@pytest.mark.parametrize("length", [1, 2, 16, 50])
def test_drawing_as_many_as_eligible_gives_each_once(length):
    mask = torch.ones(8, length, dtype=torch.bool)
    positions, _ = draw_positions(mask, keyed_uniform(1, 0, 0, torch.arange(8), length))
    assert torch.equal(positions, torch.arange(length).expand(8, -1))


def test_single_draws_are_uniform_over_eligible_positions():
    mask = torch.tensor([[1, 0, 1, 1, 0, 1]]).bool().expand(8000, -1)
    positions, _ = draw_positions(mask, keyed_uniform(3, 0, 0, torch.arange(8000), 1))
    share = torch.bincount(positions[:, 0], minlength=6) / 8000
    torch.testing.assert_close(share, torch.tensor([0.25, 0, 0.25, 0.25, 0, 0.25]), atol=0.02, rtol=0)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), length=st.integers(1, 40), rows=st.integers(1, 4), n=st.integers(1, 50))
def test_draw_gives_one_eligible_position_of_every_stratum(data, length, rows, n):
    bits = data.draw(st.lists(st.booleans(), min_size=rows * length, max_size=rows * length))
    number = st.integers(0, 2**24 - 1) | st.sampled_from([0, 2**24 - 1])
    uniform = data.draw(st.lists(number, min_size=rows * n, max_size=rows * n))
    mask = torch.tensor(bits).view(rows, length)
    positions, valid = draw_positions(mask, torch.tensor(uniform).view(rows, n) / 2**24)
    assert positions.shape == valid.shape == (rows, n)
    assert ((positions >= 0) & (positions < length)).all()
    assert torch.equal(valid, mask.any(1, keepdim=True).expand(rows, n))
    assert gather(mask, positions)[valid].all()
    count, i = mask.sum(1, keepdim=True), torch.arange(n)
    rank = gather(mask.cumsum(1), positions) - 1
    assert (positions.diff(dim=1) >= 0).all()
    assert (rank <= ((i + 1) * count - 1).clamp(min=0) // n)[valid].all()
    assert (rank + 1 >= i * count / n)[valid].all()


def test_take_indexes_rows():
    x, positions = torch.randn(2, 5, 3), torch.tensor([[[0, 4], [1, 1]], [[2, 3], [0, 0]]])
    taken = gather(x, positions)
    assert taken.shape == (2, 2, 2, 3)
    for b, i, j in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        assert torch.equal(taken[b, i, j], x[b, positions[b, i, j]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_taking_all_at_once_is_taking_one_by_one(dtype):
    x = torch.randn(2, 5, 3, 2).to(dtype).requires_grad_()
    positions = [torch.tensor(p) for p in ([[0, 4], [2, 1]], [[3], [1]], [[], []], [[1, 1, 0], [4, 4, 4]])]
    positions = [p.long() for p in positions]
    found, expected = gather_all(x, *positions), [gather(x, p) for p in positions]
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
    weights = [torch.randn_like(taken) for taken in expected]
    ours, wanted = (
        torch.autograd.grad(sum((t * w).sum() for t, w in zip(taken, weights, strict=True)), x)
        for taken in (found, expected)
    )
    torch.testing.assert_close(ours, wanted)


def test_row_hash_depends_on_the_whole_row_and_on_nothing_else():
    rows = torch.randint(0, 3, (2000, 12), generator=torch.Generator().manual_seed(0)).unique(dim=0)
    found = row_hash(rows)
    assert torch.equal(found[[5, 3]], row_hash(rows[[5, 3]])) and len(found.unique()) > 0.99 * len(rows)
    assert 0 <= found.min() and found.max() < 1 and abs(found.mean() - 0.5) < 0.03
    assert len({float(row_hash(torch.tensor([r]))) for r in ([1, 2], [2, 1], [1, 2, 0], [0, 1, 2])}) == 4
