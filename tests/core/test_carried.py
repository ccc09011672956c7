"""Carried memory: blocks one after another against one pass over the whole text."""

from dataclasses import replace

import pytest
import torch

from fairseq_smt.core.carried import Carried, Streams
from fairseq_smt.core.objectives import ChunkedBackpropagation
from fairseq_smt.core.rollout import sequential, warm
from tests.support.toy import T, make_batch, make_modules


def block(batch, start, end, streams, rows=None):
    """Positions of a batch as a block of its own; the first ones start from m_∅."""
    rows = torch.arange(len(batch.inputs)) if rows is None else rows
    cut = {name: getattr(batch, name)[:, start:end] for name in ("inputs", "targets", "real", "asked", "scored")}
    return replace(batch, **cut, carried=Carried(streams, rows, torch.full((len(rows),), start == 0)))


def gradients(loss, rnn):
    found = torch.autograd.grad(loss, list(rnn.parameters()), materialize_grads=True)
    return dict(zip((name for name, _ in rnn.named_parameters()), found, strict=True))


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_two_blocks_are_one_unroll_with_a_detach_between(cut):
    modules, batch = make_modules(), make_batch()
    rnn, objective, streams = modules.rnn, ChunkedBackpropagation(chunk=T, horizon=T), Streams(4)
    blocks = [block(batch, a, b, streams) for a, b in ((0, cut), (cut, T))]
    terms = [objective(modules, part) for part in blocks]
    numbers = [int(part.asked.sum()) for part in blocks]
    found = sum(term.loss * n for term, n in zip(terms, numbers, strict=True)) / sum(numbers)

    first = rnn.unroll(batch.inputs[:, :cut])
    memories = torch.cat((first, rnn.unroll(batch.inputs[:, cut:], first[:, -1].detach())), dim=1)
    torch.testing.assert_close(memories, rnn.unroll(batch.inputs))
    nll = torch.nn.functional.cross_entropy(rnn.readout(memories).transpose(1, 2), batch.targets, reduction="none")
    expected = nll[batch.asked].mean()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, rnn), gradients(expected, rnn))
    torch.testing.assert_close(streams.memories, memories[:, -1].detach())


def test_chunks_go_on_from_what_the_rollout_before_ended_with():
    modules, batch = make_modules(), make_batch()
    rnn, streams = modules.rnn, Streams(4)
    objective = ChunkedBackpropagation(chunk=2, passes=0, horizon=T)
    with torch.no_grad():
        expected = rnn.initial(4)
    for start, end in ((0, 5), (5, T)):
        part = block(batch, start, end, streams)
        offsets = [warm(rnn.cell, expected, rnn.cell.inputs(part.inputs), 2, o, 0)[:, -1] for o in (0, 1)]
        objective(modules, part, update=3)
        assert any(torch.allclose(streams.memories, last, atol=1e-6) for last in offsets)
        expected = streams.memories.clone()


def test_a_row_that_begins_trains_the_initial_memory_and_one_that_goes_on_does_not():
    rnn, streams = make_modules().rnn, Streams(3)
    inputs = rnn.cell.inputs(make_batch((10, 10)).inputs)
    for begins, trained in (((True, False), True), ((False, False), False)):
        initial = rnn.initial(2)
        start = Carried(streams, torch.tensor([2, 0]), torch.tensor(begins)).start(initial)
        gradient = torch.autograd.grad(sequential(rnn.cell, start, inputs).square().sum() + 0 * initial.sum(), initial)
        assert [bool(row.any()) for row in gradient[0]] == [trained, False]


def test_validation_keeps_the_memory_after_the_last_real_token():
    modules, batch = make_modules(), make_batch((10, 3, 7, 1))
    streams = Streams(4)
    part = block(batch, 0, T, streams, torch.tensor([3, 1, 0, 2]))
    ChunkedBackpropagation(chunk=4)(modules, part, training=False)
    memories = modules.rnn.unroll(batch.inputs)
    for i, (row, length) in enumerate(((3, 10), (1, 3), (0, 7), (2, 1))):
        torch.testing.assert_close(streams.memories[row], memories[i, length - 1].detach())


def test_a_stream_without_a_past_begins_from_the_initial_memory():
    rnn, streams = make_modules().rnn, Streams(2)
    carried = Carried(streams, torch.tensor([1]), torch.tensor([False]))
    torch.testing.assert_close(carried.start(rnn.initial(1)), rnn.initial(1))
