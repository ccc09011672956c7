"""DAgger Memory Training and chunked BPTT on tiny modules."""

import math
from dataclasses import replace

import pytest
import torch

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.interface import Batch
from fairseq_smt.core.objectives import CHUNK_LENGTHS, ROLLOUTS, ChunkedBackpropagation, DaggerMemoryTraining
from fairseq_smt.core.random import Draws
from fairseq_smt.core.rollout import sequential, warm
from fairseq_smt.core.teacher import HEADS
from tests.support.toy import FOLLOWERS, T, gradient_size, make_batch, make_modules, mean, parameters, part_of

cells = pytest.mark.parametrize("cell", FOLLOWERS)
heads = pytest.mark.parametrize("head", HEADS)
rollouts = pytest.mark.parametrize("rollout", ROLLOUTS)
modes = pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])


def gradients(loss, modules):
    named = {name: p for name, p in parameters(modules).items() if name.startswith("rnn")}
    return torch.autograd.grad(loss, list(named.values()), materialize_grads=True)


@cells
@heads
@pytest.mark.parametrize(("drift_backprop", "ce_backprop"), [(1, 0), (1, 1), (3, 10), (10, 2), (10, 10)])
def test_sequential_equals_the_published_loop(cell, head, drift_backprop, ce_backprop):
    """Step by step, with the memory detached where the gradient is cut; labels and losses at every position."""
    modules, batch = make_modules(cell, head), make_batch()
    objective = DaggerMemoryTraining(
        10.0, 1.0, rollout="sequential", drift_backprop=drift_backprop, ce_backprop=ce_backprop
    )
    terms = objective(modules, batch)
    labels = modules.teacher.labels(batch.inputs).detach()

    def loop(cut):
        memory, memories = modules.rnn.initial(4), []
        for t in range(T):
            if cut and t and t % cut == 0:
                memory = memory.detach()
            memory = modules.rnn.cell(memory, modules.rnn.cell.inputs(batch.inputs[:, t]))
            memories.append(memory if cut else memory.detach())
        return torch.stack(memories, 1)

    drift = (loop(drift_backprop) - labels).square().mean()
    nll = -modules.rnn.readout(loop(ce_backprop)).log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0]
    expected = 10 * drift + nll[batch.asked].mean()
    torch.testing.assert_close(terms.loss, expected)
    torch.testing.assert_close(gradients(terms.loss, modules), gradients(expected, modules), atol=1e-5, rtol=1e-4)


@cells
@rollouts
@modes
def test_only_the_rnn_is_trained_and_every_part_of_it(cell, rollout, training):
    modules = make_modules(cell)
    terms = DaggerMemoryTraining(rollout=rollout, chunk=4)(modules, make_batch((10, 7, 3, 1)), training=training)
    terms.loss.backward()
    assert gradient_size(modules.teacher) == gradient_size(modules.future) == 0
    for name, p in modules.rnn.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


@cells
@rollouts
def test_without_ce_backprop_the_readout_alone_learns_from_the_targets(cell, rollout):
    modules = make_modules(cell)
    DaggerMemoryTraining(0.0, 1.0, rollout=rollout, ce_backprop=0)(modules, make_batch()).loss.backward()
    assert gradient_size(modules.rnn.readout) > 0 and gradient_size(modules.rnn.cell) == 0


@cells
@rollouts
@pytest.mark.parametrize("lengths", CHUNK_LENGTHS)
@modes
def test_halves_add_up_to_the_whole(cell, rollout, lengths, training):
    modules, batch = make_modules(cell), make_batch((10, 7, 3, 10))
    objective = DaggerMemoryTraining(rollout=rollout, chunk=4, chunk_lengths=lengths)
    whole, first, second = (
        objective(modules, x, update=3, training=training)
        for x in (batch, part_of(batch, slice(0, 2)), part_of(batch, slice(2, 4)))
    )
    for name in whole.measures.keys() - {"label_variance"}:
        for i in range(2):
            parts = first.measures[name][i].double() + second.measures[name][i].double()
            torch.testing.assert_close(parts, whole.measures[name][i].double(), atol=1e-4, rtol=1e-5)


@cells
@heads
@rollouts
@modes
def test_padding_content_does_not_matter(cell, head, rollout, training):
    modules, objective = make_modules(cell, head), DaggerMemoryTraining(rollout=rollout, chunk=4)
    a, b = (objective(modules, make_batch((10, 7, 3, 1), padding=p), training=training) for p in (0, 8))
    torch.testing.assert_close(a.loss, b.loss)
    for name, pair in a.measures.items():
        torch.testing.assert_close(pair, b.measures[name], msg=lambda m, name=name: f"{name}: {m}")


@cells
@rollouts
@modes
@pytest.mark.parametrize(
    ("lengths", "length"), [((1, 1, 1), 1), ((10,), T), ((10, 0, 3), T), ((0, 0), T), ((0,), 1)], ids=str
)
def test_small_batches_stay_finite(cell, rollout, training, lengths, length):
    modules, batch = make_modules(cell), make_batch(lengths, length)
    for objective in (DaggerMemoryTraining(rollout=rollout), ChunkedBackpropagation()):
        terms = objective(modules, batch, training=training)
        terms.loss.backward()
        assert terms.loss.isfinite()
        assert all(torch.as_tensor(total).isfinite() for total, _ in terms.measures.values())
        assert all(p.grad is None or p.grad.isfinite().all() for p in parameters(modules).values())


def test_random_chunks_differ_by_update_and_not_by_samples():
    objective = DaggerMemoryTraining(chunk_lengths="random", horizon=64)
    drawn = [objective.chunk_at(update, 64) for update in range(200)]
    assert len(set(drawn)) > 100 and {c for c, _ in drawn} <= set(range(1, 65))
    assert all(0 <= offset < chunk for chunk, offset in drawn)
    assert drawn == [objective.chunk_at(update, 64) for update in range(200)]
    other = DaggerMemoryTraining(chunk_lengths="random", horizon=64, seed=2)
    assert len(set(drawn) & {other.chunk_at(update, 64) for update in range(200)}) < 50
    short = DaggerMemoryTraining(chunk_lengths="random", horizon=4)
    assert {short.chunk_at(update, 4) for update in range(200)} == {(c, o) for c in range(1, 5) for o in range(c)}


@pytest.mark.parametrize("rollout", ["chunked", "warm", "jacobi"])
def test_random_chunks_do_not_depend_on_the_length_of_the_batch(rollout):
    objective = DaggerMemoryTraining(rollout=rollout, chunk_lengths="random", horizon=40)
    drawn = [objective.chunk_at(update, 3) for update in range(99)]
    assert drawn == [objective.chunk_at(update, 40) for update in range(99)]
    assert max(chunk for chunk, _ in drawn) > 30


def test_a_given_chunk_length_is_used():
    modules, batch = make_modules(), make_batch()
    adaptive = DaggerMemoryTraining(chunk=2, chunk_lengths="adaptive")
    update = next(u for u in range(500) if adaptive.chunk_at(u, T, T) == (T, 0))
    terms = adaptive(modules, batch, update=update, chunk=T)
    torch.testing.assert_close(terms.loss, DaggerMemoryTraining(rollout="sequential")(modules, batch).loss)
    assert mean(terms, "chunk_length") == T and mean(adaptive(modules, batch), "chunk_length") == 2


@cells
def test_validation_measures_the_rnn_from_its_initial_memory(cell):
    modules, batch = make_modules(cell), make_batch((10, 7, 3, 1))
    batch.scored = batch.asked & (torch.arange(T) % 2 == 0)
    terms = DaggerMemoryTraining()(modules, batch, training=False)
    labels = modules.teacher.labels(batch.inputs)
    rnn = modules.rnn
    memories = sequential(rnn.cell, rnn.initial(4), rnn.cell.inputs(batch.inputs))
    torch.testing.assert_close(mean(terms, "drift_4"), (memories - labels)[:2, 3].square().mean().detach())
    for name, memory in (("rnn", memories), ("ceiling", labels)):
        nll = -rnn.readout(memory).log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0]
        torch.testing.assert_close(mean(terms, f"{name}_nll"), nll[batch.scored].mean().detach())


@cells
@pytest.mark.parametrize("passes", [0, 2])
@pytest.mark.parametrize(
    ("chunk", "horizon"), [(T, T), (T, 0), (4 * T, T), (T - 1, T - 1)], ids=["T", "the batch's", "longer", "bos"]
)
def test_a_chunk_as_long_as_the_block_is_backpropagation_through_time(cell, chunk, horizon, passes):
    """For a whole block and any update; a bos, which --tokens-per-sample does not count, makes it longer by one."""
    modules, batch = make_modules(cell), make_batch((10, 7, 3, 10))
    nll = -modules.rnn(batch.inputs)[0].log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0]
    expected = nll[batch.asked].mean()
    wanted = gradients(expected, modules)
    for update in range(12):
        terms = ChunkedBackpropagation(chunk, passes, horizon, seed=update + 3)(modules, batch, update=update)
        torch.testing.assert_close(terms.loss, expected)
        torch.testing.assert_close(gradients(terms.loss, modules), wanted, atol=1e-6, rtol=1e-4)


def test_a_shorter_chunk_cuts_every_micro_batch_at_a_random_offset():
    """However short the blocks of a micro-batch are: chunks of an update begin at the same positions everywhere."""
    modules, batch = make_modules(), make_batch()
    short = part_of(batch, slice(0, 2))
    short = Batch(*(getattr(short, name)[:, :4] for name in ("inputs", "targets", "real", "asked")), ids=short.ids)
    objective = ChunkedBackpropagation(5, 0, horizon=T)
    for update in range(5):
        (where,) = Draws(1, update, batch.ids).shared("chunk", 1)
        for part in (batch, short):
            rnn, inputs = modules.rnn, modules.rnn.cell.inputs(part.inputs)
            memories = warm(rnn.cell, rnn.initial(len(inputs)), inputs, 5, int(5 * where), 0)
            nll = -rnn.readout(memories).log_softmax(-1).gather(-1, part.targets[..., None])[..., 0]
            torch.testing.assert_close(objective(modules, part, update=update).loss, nll[part.asked].mean())


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_chunked_bptt_is_the_loss_of_warm_chunks_at_an_offset_of_the_update(passes):
    modules, batch = make_modules(), make_batch()
    rnn, inputs = modules.rnn, modules.rnn.cell.inputs(batch.inputs)
    expected = []
    for offset in range(3):
        memories = warm(rnn.cell, rnn.initial(4), inputs, 3, offset, passes)
        nll = -rnn.readout(memories).log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0]
        expected.append(nll[batch.asked].mean())
    expected = torch.stack(expected).detach()

    def offsets(seed):
        for update in range(12):
            objective = ChunkedBackpropagation(3, passes, seed=seed)
            loss = objective(modules, batch, update=update).loss
            assert loss == objective(modules, replace(batch, ids=batch.ids + update + 1), update=update).loss
            distance, offset = (expected - loss.detach()).abs().min(0)
            assert distance < 1e-5
            yield int(offset)

    assert expected.diff().abs().min() > 1e-3
    assert set(offsets(1)) == {0, 1, 2} and list(offsets(1)) != list(offsets(2))


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_a_warm_rollout_starts_where_passes_from_the_labels_end(passes):
    """By a loop: a chunk starts from the label `passes` chunks earlier, carried on by the cell alone."""
    modules, batch = make_modules("gru"), make_batch()
    rnn, labels = modules.rnn, modules.teacher.labels(batch.inputs).detach()
    objective = DaggerMemoryTraining(1.0, 0.0, "warm", chunk=3, passes=passes, drift_backprop=3, horizon=T)
    loss = objective(modules, batch).loss
    _, offset = objective.chunk_at(0, T)
    starts = [0, *range(offset or 3, T, 3)]
    errors = []
    for t in range(T):
        first = max(i for i, start in enumerate(starts) if start <= t)
        begin = starts[max(first - passes, 0)]
        memory = labels[:, begin - 1] if begin else rnn.initial(len(labels))
        for s in range(begin, t + 1):
            cut = first and s == starts[first]
            memory = rnn.cell(memory.detach() if cut else memory, rnn.cell.inputs(batch.inputs[:, s]))
        errors.append((memory - labels[:, t]).square().mean())
    torch.testing.assert_close(loss, torch.stack(errors).mean())
    torch.testing.assert_close(gradients(loss, modules), gradients(torch.stack(errors).mean(), modules))


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (dict(rollout="sideways"), "--rollout"),
        (dict(chunk_lengths="long"), "--chunk-lengths"),
        (dict(chunk=0), "--chunk"),
        (dict(drift_backprop=0), "--drift-backprop"),
        (dict(ce_backprop=-1), "--ce-backprop"),
        (dict(passes=-1), "--warm-passes"),
        (dict(drift_weight=-1.0), "--drift-weight must not be negative, got -1.0"),
        (dict(readout_weight=math.nan), "--readout-weight must be a finite number, not nan"),
    ],
    ids=str,
)
def test_bad_options_are_refused(options, flag):
    with pytest.raises(ConfigurationError, match=flag):
        DaggerMemoryTraining(**options)
