"""Every rollout against the sequential one: outputs and gradients."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fairseq_smt.core.cells import CELLS, build_cell
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.memory import normalize_memory
from fairseq_smt.core.rollout import Chunks, chunked, jacobi, sequential, warm, with_gradient

V, K, D, B, T = 11, 4, 8, 2, 10
cells = pytest.mark.parametrize("name", list(CELLS))
chunkings = pytest.mark.parametrize(("chunk", "offset"), [(1, 0), (4, 0), (4, 1), (4, 3), (3, 7), (10, 0), (16, 5)])


def setup(name, length=T):
    torch.manual_seed(0)
    cell = build_cell(V, RnnConfig(K, D, name, cell_hidden=16, cell_layers=1, cell_heads=2)).double()
    tokens = torch.randint(V, (B, length), generator=torch.Generator().manual_seed(1))
    initial = normalize_memory(torch.randn(B, K, D, dtype=torch.double)).requires_grad_()
    labels = normalize_memory(torch.randn(B, length, K, D, dtype=torch.double)).requires_grad_()
    return cell, initial, labels, tokens


def gradients(memories, *leaves):
    weight = torch.linspace(-1, 1, memories.numel(), dtype=memories.dtype).view(memories.shape)
    return torch.autograd.grad((memories * weight).sum(), leaves, retain_graph=True, materialize_grads=True)


def assert_same(cell, found, expected, *leaves):
    torch.testing.assert_close(found, expected)
    leaves = [*leaves, *cell.parameters()]
    torch.testing.assert_close(gradients(found, *leaves), gradients(expected, *leaves))


@pytest.mark.parametrize("length", [1, 5, 10])
@chunkings
def test_splitting_and_joining_keep_every_position(length, chunk, offset):
    """A chunk begins at 0 and at every position p with p % C == offset, and nowhere else."""
    chunks = Chunks(length, chunk, offset)
    starts = [0, *(p for p in range(1, length) if p % chunk == offset % chunk)]
    assert chunks.starts().tolist() == starts and chunks.number == len(starts)
    x = torch.arange(B * length).view(B, length)
    pieces = chunks.split(x)
    assert pieces.shape == (B, len(starts), min(chunk, length)) and torch.equal(pieces[..., 0], x[:, starts])
    assert torch.equal(chunks.join(pieces), x)


def loop_over_chunks(cell, initial, labels, tokens, chunk, offset, detach=0):
    """One chunk after another, each step by step, its gradient cut every `detach` positions."""
    starts = Chunks(T, chunk, offset).starts().tolist()
    pieces = []
    for a, b in zip(starts, [*starts[1:], T], strict=True):
        memory = labels[:, a - 1] if a else initial
        pieces.append(sequential(cell, memory, cell.inputs(tokens[:, a:b]), detach))
    return torch.cat(pieces, 1)


@cells
@chunkings
def test_chunked_equals_a_loop_over_chunks(name, chunk, offset):
    cell, initial, labels, tokens = setup(name)
    found = chunked(cell, initial, labels, cell.inputs(tokens), chunk, offset)
    assert_same(cell, found, loop_over_chunks(cell, initial, labels, tokens, chunk, offset), initial, labels)


@cells
@pytest.mark.parametrize("chunk", [T, T + 5])
def test_chunks_as_long_as_the_block_equal_sequential(name, chunk):
    cell, initial, labels, tokens = setup(name)
    inputs = cell.inputs(tokens)
    expected = sequential(cell, initial, inputs)
    assert_same(cell, chunked(cell, initial, labels, inputs, chunk), expected, initial)
    assert_same(cell, warm(cell, initial, inputs, chunk), expected, initial)


@cells
@chunkings
def test_warm_with_enough_passes_equals_sequential_cut_at_the_chunks(name, chunk, offset):
    cell, initial, _, tokens = setup(name)
    chunks = Chunks(T, chunk, offset)
    found = warm(cell, initial, cell.inputs(tokens), chunk, offset, passes=chunks.number)
    memory, memories = initial, []
    for t in range(T):
        if t in chunks.starts()[1:].tolist():
            memory = memory.detach()
        memory = cell(memory, cell.inputs(tokens[:, t]))
        memories.append(memory)
    assert_same(cell, found, torch.stack(memories, 1), initial)


@cells
def test_warm_with_one_pass_starts_from_chunks_that_began_at_the_initial_memory(name):
    cell, initial, _, tokens = setup(name)
    found = warm(cell, initial, cell.inputs(tokens), 4, 2, passes=1)
    before = sequential(cell, initial, cell.inputs(tokens[:, 2:6]))[:, -1]
    torch.testing.assert_close(found[:, 6:], sequential(cell, before, cell.inputs(tokens[:, 6:])))
    fresh = warm(cell, initial, cell.inputs(tokens), 4, passes=0)
    torch.testing.assert_close(fresh[:, 4], cell(initial, cell.inputs(tokens[:, 4])))


@cells
@pytest.mark.parametrize("sweeps", [T, T + 3])
def test_jacobi_with_enough_sweeps_equals_sequential(name, sweeps):
    cell, initial, labels, tokens = setup(name)
    inputs = cell.inputs(tokens)
    assert_same(cell, jacobi(cell, initial, labels, inputs, sweeps), sequential(cell, initial, inputs), initial, labels)


@cells
@pytest.mark.parametrize("sweeps", [1, 3])
def test_jacobi_equals_its_definition(name, sweeps):
    cell, initial, labels, tokens = setup(name)
    expected = []
    for t in range(T):
        first = max(0, t - sweeps + 1)
        memory = labels[:, first - 1] if first else initial
        expected.append(sequential(cell, memory, cell.inputs(tokens[:, first : t + 1]))[:, -1])
    found = jacobi(cell, initial, labels, cell.inputs(tokens), sweeps)
    assert_same(cell, found, torch.stack(expected, 1), initial, labels)


@cells
@chunkings
@pytest.mark.parametrize("detach", [1, 2, 3, 20])
def test_gradient_of_a_rollout_made_without_one_equals_the_loop(name, chunk, offset, detach):
    cell, initial, labels, tokens = setup(name)
    inputs, chunks = cell.inputs(tokens), Chunks(T, chunk, offset)
    pieces = chunks.split(inputs)
    with torch.no_grad():
        memories = chunked(cell, initial, labels, inputs, chunk, offset)
    found = with_gradient(cell, chunks.before(initial, labels), memories, pieces, chunks, detach)
    expected = loop_over_chunks(cell, initial, labels, tokens, chunk, offset, detach)
    assert_same(cell, found, expected, initial, labels)


def cost(cell, roll) -> tuple[int, int]:
    """FLOPs of a rollout, and its calls of the cell, which come one after another."""
    calls = []
    hook = cell.register_forward_pre_hook(lambda *_: calls.append(1))
    with FlopCounterMode(display=False) as counter:
        roll()
    hook.remove()
    return counter.get_total_flops(), len(calls)


@cells
@pytest.mark.parametrize("offset", [0, 5])
def test_chunks_of_16_do_the_work_of_the_sequential_rollout_at_a_sixteenth_of_its_depth(name, offset):
    cell, initial, labels, tokens = setup(name, length=256)
    cell.requires_grad_(False)
    initial, labels, inputs = initial.detach(), labels.detach(), cell.inputs(tokens)
    steps = cell.__call__  # which has no `run`
    flops, depth = cost(cell, lambda: sequential(steps, initial, inputs))
    found, calls = cost(cell, lambda: chunked(steps, initial, labels, inputs, 16, offset))
    assert (depth, calls) == (256, 16) and flops > 0
    assert found == pytest.approx(flops, rel=0.1)


@cells
def test_rollouts_of_nothing_are_empty(name):
    cell, initial, labels, tokens = setup(name, length=0)
    inputs = cell.inputs(tokens)
    for memories in (
        sequential(cell, initial, inputs),
        chunked(cell, initial, labels, inputs, 4),
        warm(cell, initial, inputs, 4),
        jacobi(cell, initial, labels, inputs, 2),
    ):
        assert memories.shape == (B, 0, K, D)


def test_bad_numbers_are_refused():
    cell, initial, labels, tokens = setup("mlp")
    with pytest.raises(ConfigurationError, match="at least one position"):
        chunked(cell, initial, labels, cell.inputs(tokens), 0)
    with pytest.raises(ConfigurationError, match="at least one sweep"):
        jacobi(cell, initial, labels, cell.inputs(tokens), 0)
