"""Supervised Memory Training on tiny modules."""

from math import inf, nan

import pytest
import torch

from fairseq_smt.core import losses
from fairseq_smt.core.diagnostics import effective_rank
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from fairseq_smt.core.random import Draws, draw_positions, gather
from fairseq_smt.core.teacher import HEADS
from tests.support.operations import Operations
from tests.support.toy import FOLLOWERS, T, gradient_size, make_batch, make_modules, mean, parameters, part_of

WEIGHTS = [f"{name}_weight" for name in ("future", "readout", "trunk", "dynamics", "pursuit", "uniformity")]
POSITIONS = ["future_positions", "readout_positions", "dynamics_positions", "label_pairs"]
ONLY_DYNAMICS = dict(future_weight=0, readout_weight=0, trunk_weight=0, uniformity_weight=0, dynamics_weight=1)
cells = pytest.mark.parametrize("cell", FOLLOWERS)
heads = pytest.mark.parametrize("head", HEADS)
futures = pytest.mark.parametrize("future", ["window", "far"])


@cells
@heads
def test_dynamics_equals_loop_over_all_positions(cell, head):
    modules, batch = make_modules(cell, head), make_batch()
    smt = SupervisedMemoryTraining(**ONLY_DYNAMICS, dynamics_positions=0, label_pairs=T)
    named = {n: p for n, p in parameters(modules).items() if n.startswith(("rnn", "teacher"))}
    terms = smt(modules, batch)
    grads = torch.autograd.grad(terms.loss, list(named.values()), allow_unused=True, materialize_grads=True)

    rnn, loss = modules.rnn, 0
    labels = modules.teacher.labels(batch.inputs)
    for b in range(4):
        memory = rnn.initial(1)
        for t in range(T):
            prediction = rnn.cell(memory, rnn.cell.inputs(batch.inputs[b, t][None]))
            loss = loss + (prediction[0] - labels[b, t]).square().mean() / (4 * T)
            memory = labels[b, t][None]
    torch.testing.assert_close(terms.loss, loss)
    torch.testing.assert_close(mean(terms, "dynamics"), loss.detach())
    expected = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
    for name, ours, wanted in zip(named, grads, expected, strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


@heads
@cells
@futures
def test_loss_is_the_weighted_sum_of_its_measures(cell, head, future):
    modules, batch = make_modules(cell, head, future), make_batch((10, 7, 3, 1))
    smt = SupervisedMemoryTraining(future_weight=0.3, readout_weight=0.7, trunk_weight=0.2, dynamics_weight=0.6)
    terms = smt(modules, batch, ramp=0.5)
    weights = dict(future_nll=0.3, ceiling_nll=0.7, trunk_nll=0.2, dynamics=0.3, uniformity=0.001)
    torch.testing.assert_close(terms.loss.detach(), sum(w * mean(terms, name) for name, w in weights.items()))
    assert terms.loss.dtype == torch.float32


@futures
@pytest.mark.parametrize("tokens", [6, 30], ids=["few tokens", "more tokens than there are"])
def test_every_term_is_that_of_the_drawn_positions(future, tokens):
    """Each draw has its own purpose, seed and number; a row of padding is part of none."""
    modules, batch = make_modules(future=future), make_batch((10, 7, 0, 1))
    batch.scored = batch.asked & (torch.arange(T) % 2 == 0)
    numbers = dict(future_positions=3, readout_positions=5, dynamics_positions=4, uniformity_tokens=tokens)
    smt = SupervisedMemoryTraining(pursuit_weight=0.3, diagnostics_interval=5, seed=7, **numbers)
    terms = smt(modules, batch, update=5, ramp=0.5)
    draw, rnn, predictor, labels = Draws(7, 5, batch.ids), modules.rnn, modules.future, modules.teacher(batch.inputs)[0]

    t, valid = draw_positions(predictor.eligible(batch.real, batch.asked), draw("future", 3))
    s, asked = predictor.targets_for(t, batch.asked, draw("future target", 3 * predictor.futures))
    asked, memory, wanted = asked & valid[..., None], gather(labels, t), gather(batch.targets, s)
    decoded = losses.mean_of(*losses.cross_entropy(predictor(memory, batch.inputs, t, s), wanted, asked))
    borrowed = predictor(memory[[3, 0, 1, 2]], batch.inputs, t, s)
    lent = asked & torch.tensor([True, True, True, False])[:, None, None]  # the row after the padding borrows from it
    shuffled = losses.mean_of(*losses.cross_entropy(borrowed, wanted, lent))

    t, valid = draw_positions(batch.asked, draw("readout", 5))
    nll = -rnn.readout(gather(labels, t)).log_softmax(-1).gather(-1, gather(batch.targets, t)[..., None])[..., 0]
    readout, ceiling = nll[valid].mean(), nll[valid & gather(batch.scored, t)].mean()

    t, valid = draw_positions(batch.real, draw("dynamics", 4))
    before = torch.cat((rnn.initial(4)[:, None], labels), 1)
    source, label, inputs = gather(before, t), gather(labels, t), rnn.cell.inputs(gather(batch.inputs, t))
    moved = rnn.cell(source.flatten(0, 1), inputs.flatten(0, 1)).view_as(label)
    dynamics, pursuit = losses.mean_of(*losses.dynamics(moved, label, valid)), losses.pursuit(moved, label, valid)

    keys = draw("uniformity", 8).view(4, 4, 2)[valid]
    spread = losses.uniformity(label[valid].flatten(0, 1)[keys.flatten().argsort()[:tokens]])

    named = dict(future_nll=decoded, shuffled_nll=shuffled, ceiling_nll=ceiling, dynamics=dynamics, uniformity=spread)
    for name, expected in (named | dict(effective_rank=effective_rank(label[valid]))).items():
        torch.testing.assert_close(mean(terms, name), expected.detach(), msg=lambda m, name=name: f"{name}: {m}")
    expected = mean(terms, "trunk_nll") + 0.5 * decoded + 0.5 * readout + 0.001 * spread
    torch.testing.assert_close(terms.loss, expected + 0.5 * (0.1 * dynamics + 0.3 * pursuit))
    assert smt(modules, batch, update=6).measures["effective_rank"][1] == 0


def test_trunk_loss_equals_cross_entropy():
    modules, batch = make_modules(), make_batch((10, 7, 3, 1))
    total, count = SupervisedMemoryTraining()(modules, batch).measures["trunk_nll"]
    logits = modules.teacher.language_model_head(modules.teacher(batch.inputs)[1]).log_softmax(-1)
    expected = -sum(logits[b, t, batch.targets[b, t]] for b, t in batch.asked.nonzero().tolist())
    torch.testing.assert_close(total, expected.detach())
    assert count == batch.asked.sum()


@heads
@cells
@futures
@pytest.mark.parametrize("update", [0, 3])
@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_halves_add_up_to_the_whole(cell, head, future, update, training):
    modules, batch = make_modules(cell, head, future), make_batch((10, 7, 3, 10))
    smt = SupervisedMemoryTraining()
    whole, first, second = (
        smt(modules, x, update=update, training=training)
        for x in (batch, part_of(batch, slice(0, 2)), part_of(batch, slice(2, 4)))
    )
    names = ["trunk_nll", "dynamics", "ceiling_nll", "ceiling_accuracy", "future_nll"]
    if not training:
        names += ["rnn_nll", "rnn_accuracy", "drift_1", "drift_4", "drift_16"]
    for name in names:
        for i in range(2):
            expected = whole.measures[name][i].double()
            parts = first.measures[name][i].double() + second.measures[name][i].double()
            torch.testing.assert_close(parts, expected, atol=1e-4, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_updates_draw_other_positions():
    modules, batch = make_modules(), make_batch()
    smt = SupervisedMemoryTraining(dynamics_positions=2)
    assert smt(modules, batch, update=0).loss == smt(modules, batch, update=0).loss
    assert mean(smt(modules, batch, update=0), "dynamics") != mean(smt(modules, batch, update=1), "dynamics")


@heads
@cells
@futures
@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_padding_content_does_not_matter(cell, head, future, training):
    modules = make_modules(cell, head, future)
    smt = SupervisedMemoryTraining(pursuit_weight=1.0)
    a, b = (smt(modules, make_batch((10, 7, 3, 1), padding=p), training=training) for p in (0, 8))
    torch.testing.assert_close(a.loss, b.loss)
    for name, pair in a.measures.items():
        torch.testing.assert_close(pair, b.measures[name], msg=lambda m, name=name: f"{name}: {m}")


@heads
@cells
@futures
@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
@pytest.mark.parametrize(
    ("lengths", "length"),
    [((1, 1, 1), 1), ((10,), T), ((1,), 1), ((10, 0, 3), T), ((0, 0), T), ((0,), 1)],
    ids=["one token", "one row", "one row of one token", "an empty row", "all padding", "one padding token"],
)
def test_small_batches_stay_finite(cell, head, future, training, lengths, length):
    modules = make_modules(cell, head, future)
    smt = SupervisedMemoryTraining(pursuit_weight=1.0)
    terms = smt(modules, make_batch(lengths, length), training=training)
    terms.loss.backward()
    assert terms.loss.isfinite()
    for name, (total, count) in terms.measures.items():
        assert torch.as_tensor(total).isfinite() and count >= 0, name
    for name, p in parameters(modules).items():
        assert p.grad is None or p.grad.isfinite().all(), name


@heads
@cells
@pytest.mark.parametrize(("detach", "teacher_learns"), [("none", 1), ("source", 1), ("target", 1), ("both", 0)])
def test_detach_stops_the_teachers_gradient(cell, head, detach, teacher_learns):
    modules, batch = make_modules(cell, head), make_batch()
    SupervisedMemoryTraining(**ONLY_DYNAMICS, detach=detach)(modules, batch).loss.backward()
    assert (gradient_size(modules.teacher) > 0) == bool(teacher_learns)
    assert gradient_size(modules.rnn.cell) > 0
    assert modules.rnn.initial.weight.grad.abs().sum() > 0
    assert gradient_size(modules.rnn.readout) == 0
    assert gradient_size(modules.future) == 0


@pytest.mark.parametrize("detach", ["source", "target", "both"])
def test_detach_keeps_the_value_and_the_cells_gradient(detach):
    batch, results = make_batch(), []
    for option in ("none", detach):
        modules = make_modules()
        loss = SupervisedMemoryTraining(**ONLY_DYNAMICS, detach=option)(modules, batch).loss
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in modules.rnn.cell.parameters())])
    torch.testing.assert_close(*results)


def test_detach_sides_add_up():
    """The teacher's gradient is that through the source plus that through the target."""
    batch, gradients = make_batch(), {}
    for detach in ("none", "source", "target"):
        modules = make_modules()
        SupervisedMemoryTraining(**ONLY_DYNAMICS, detach=detach)(modules, batch).loss.backward()
        gradients[detach] = modules.teacher.head.projection.weight.grad
    torch.testing.assert_close(gradients["source"] + gradients["target"], gradients["none"], atol=1e-6, rtol=1e-4)


@heads
@cells
def test_validation_scores_the_rnn_on_its_own_memories(cell, head):
    modules, batch = make_modules(cell, head), make_batch((10, 7, 3, 1))
    smt = SupervisedMemoryTraining()
    terms, again = (smt(modules, batch, training=False) for _ in "ab")
    assert torch.equal(terms.loss, again.loss)
    assert list(terms.measures) == list(again.measures)
    for name, (total, count) in terms.measures.items():
        assert total == again.measures[name][0] and count == again.measures[name][1], name

    logits = modules.rnn(batch.inputs)[0].detach()
    expected = -logits.log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0][batch.asked].mean()
    torch.testing.assert_close(mean(terms, "rnn_nll"), expected)
    accuracy = (logits.argmax(-1) == batch.targets)[batch.asked].float().mean()
    torch.testing.assert_close(mean(terms, "rnn_accuracy"), accuracy)

    labels = modules.teacher.labels(batch.inputs, batch.real)
    error = losses.squared_error(modules.rnn.unroll(batch.inputs), labels).detach()
    torch.testing.assert_close(mean(terms, "drift_1"), error[:, 0].mean())
    torch.testing.assert_close(mean(terms, "drift_4"), error[:2, 3].mean())
    assert terms.measures["drift_16"][1] == 0 and terms.measures["drift_64"][1] == 0
    assert "drift_256" not in terms.measures
    assert smt(modules, make_batch((4, 4, 3), 4), training=False).measures["drift_4"][1] == 2


@heads
def test_validation_scores_the_readout_at_every_labelled_and_scored_position(head):
    modules, batch = make_modules(head=head), make_batch()
    batch.scored = batch.asked & (torch.arange(T) % 2 == 0)
    terms = SupervisedMemoryTraining(label_pairs=T)(modules, batch, training=False)
    logits = modules.rnn.readout(modules.teacher.labels(batch.inputs)).detach()
    expected = -logits.log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0][batch.scored].mean()
    torch.testing.assert_close(mean(terms, "ceiling_nll"), expected)
    assert terms.measures["rnn_nll"][1] == terms.measures["ceiling_nll"][1] == batch.scored.sum()


def test_a_row_of_padding_lends_no_memory_to_another():
    """The second row would be scored with the memory of the first."""
    modules, batch = make_modules(), make_batch((0, 10, 7))
    total, count = SupervisedMemoryTraining()(modules, batch).measures["shuffled_nll"]
    later = part_of(batch, slice(1, 3))
    assert 0 < count < SupervisedMemoryTraining()(modules, later).measures["shuffled_nll"][1]
    other = SupervisedMemoryTraining()(modules, make_batch((0, 10, 7), padding=8)).measures["shuffled_nll"]
    torch.testing.assert_close((total, count), other)


@futures
@pytest.mark.parametrize("lengths", [(10, 7), (10,), (0, 0)], ids=str)
def test_measures_have_the_same_names_on_every_update(future, lengths):
    modules, smt = make_modules(future=future), SupervisedMemoryTraining()
    names = {tuple(sorted(smt(modules, make_batch(lengths), update=update).measures)) for update in (0, 1, 10)}
    assert len(names) == 1
    assert names.pop() == tuple(sorted(SupervisedMemoryTraining()(make_modules(), make_batch()).measures))


@heads
@cells
@futures
def test_every_parameter_is_trained(cell, head, future):
    modules = make_modules(cell, head, future)
    SupervisedMemoryTraining()(modules, make_batch()).loss.backward()
    for name, p in parameters(modules).items():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_few_tensors_have_the_size_of_all_labels():
    """Labels are drawn first and gathered once; normalising them takes 9 of these tensors, forward and backward."""
    modules, batch = make_modules(memory=(4, 32)), make_batch((64,) * 4, length=64)
    smt = SupervisedMemoryTraining(readout_positions=8, dynamics_positions=8, uniformity_tokens=32)
    with Operations() as done:
        smt(modules, batch, update=1).loss.backward()
    large = [size for size in done.sizes if size >= 4 * 64 * 4 * 32]
    assert 0 < len(large) <= 13


@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_every_cross_entropy_is_computed_once(training):
    """Of the trunk, the future and the readout; in validation also of shuffled memories and of the RNN's own."""
    with Operations() as done:
        SupervisedMemoryTraining()(make_modules(), make_batch(), update=1, training=training)
    assert done.names.count("_log_softmax") == (3 if training else 5)


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (dict(detach="sideways"), "--dynamics-detach"),
        (dict(future_positions=0), "--future-positions"),
        (dict(readout_positions=0), "--readout-positions"),
        (dict(uniformity_tokens=0), "--uniformity-tokens"),
        (dict(label_pairs=0), "--label-pairs"),
        (dict(diagnostics_interval=0), "--diagnostics-interval"),
        (dict(dynamics_positions=-1), "--dynamics-positions"),
        *(({name: value}, f"{flag(name)} must") for name in WEIGHTS for value in (-0.1, nan, inf)),
        *(({name: 65, "horizon": 64}, f"{flag(name)} 65 is more than a block has positions") for name in POSITIONS),
    ],
    ids=str,
)
def test_bad_options_are_refused(changes, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        SupervisedMemoryTraining(**changes)


def test_every_position_of_a_block_may_be_asked_for_and_the_defaults_go_with_any_block():
    for horizon in (1, 8, 64):
        SupervisedMemoryTraining(horizon=horizon)
    SupervisedMemoryTraining(horizon=64, **dict.fromkeys(POSITIONS, 64), **dict.fromkeys(WEIGHTS, 0.0))
