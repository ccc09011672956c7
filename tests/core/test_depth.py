"""The depth that objectives state against the calls of the cell that they make."""

from dataclasses import replace

import pytest

from fairseq_smt.core.objectives import (
    ROLLOUTS,
    ChunkedBackpropagation,
    DaggerMemoryTraining,
    SupervisedMemoryTraining,
)
from tests.support.toy import T, make_batch, make_modules


def calls(modules, batch, objective, **kwargs) -> tuple[tuple[int, int], tuple[int, int]]:
    """What an update states, and the calls it makes of a cell that takes one step each: forward and backward."""
    forward, backward = [], []

    def count(module, inputs, output):
        forward.append(module)
        if output.requires_grad:
            output.register_hook(lambda gradient: backward.append(module))

    hook = modules.rnn.cell.register_forward_hook(count)
    terms = objective(modules, batch, **kwargs)
    terms.loss.backward()
    hook.remove()
    return tuple(terms.depth), (len(forward), len(backward))


@pytest.fixture(scope="module")
def modules():
    found = make_modules("transformer")
    assert not hasattr(found.rnn.cell, "run")
    return found


def test_supervised_memory_training(modules):
    stated, made = calls(modules, make_batch(), SupervisedMemoryTraining())
    assert stated == made == (1, 1)


@pytest.mark.parametrize("rollout", ROLLOUTS)
@pytest.mark.parametrize("cuts", [(1, 0), (1, 1), (2, 3), (3, 2), (4, 4), (16, 16), (16, 1)])
def test_dagger_memory_training(modules, rollout, cuts):
    objective = DaggerMemoryTraining(
        rollout=rollout, chunk=4, passes=2, drift_backprop=cuts[0], ce_backprop=cuts[1], horizon=T
    )
    for update in range(3):
        stated, made = calls(modules, make_batch(), objective, update=update)
        assert stated == made, update
    if rollout == "sequential" and cuts == (16, 16):
        assert made == (T, T)


@pytest.mark.parametrize("chunk", [1, 4, T - 1, T])
@pytest.mark.parametrize("passes", [0, 1, 2])
def test_chunked_bptt_and_bptt(modules, chunk, passes):
    for update in range(3):
        for batch in (make_batch(), make_batch((2, 2), length=2)):
            objective = ChunkedBackpropagation(chunk, passes, horizon=T)
            stated, made = calls(modules, batch, objective, update=update)
            assert stated == made, update


def test_of_the_chunks_that_an_update_has(modules):
    """Chunk lengths that are drawn or adapted count as they are, not as --chunk says."""
    objective = DaggerMemoryTraining(chunk=4, chunk_lengths="random", horizon=T)
    found = {calls(modules, make_batch(), objective, update=update)[0] for update in range(6)}
    assert len(found) > 2
    adapted = replace(objective, chunk_lengths="adaptive")
    assert calls(modules, make_batch(), adapted, update=0, chunk=7)[0] == (7, 7)
