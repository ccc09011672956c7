"""Every objective on batches, sizes and options drawn at random: what must hold whatever they are.

The examples are the same in every run.
"""

from dataclasses import dataclass, replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_smt.core import losses
from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.future import build_future
from fairseq_smt.core.interface import Batch, Modules
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.core.objectives import (
    CHUNK_LENGTHS,
    DETACH,
    ROLLOUTS,
    ChunkedBackpropagation,
    DaggerMemoryTraining,
    SupervisedMemoryTraining,
)
from fairseq_smt.core.teacher import HEADS, build_teacher
from tests.support.toy import FOLLOWERS, gradient_size, parameters

K, D, SPECIALS = 4, 4, 4
LONGEST = 9
few = st.integers(1, 4)
some = st.integers(1, LONGEST + 4)

examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@dataclass
class Case:
    """Modules, a batch and an objective with its keyword arguments."""

    modules: Modules
    batch: Batch
    objective: object
    arguments: dict

    def __call__(self, batch: Batch | None = None):
        return self.objective(self.modules, batch or self.batch, **self.arguments)


@st.composite
def batches(draw, vocabulary):
    lengths = draw(st.lists(st.integers(0, LONGEST), min_size=1, max_size=4))
    length = max([1, *lengths]) + draw(st.integers(0, 2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    shape = (len(lengths), length)
    inputs, targets = (torch.randint(vocabulary, shape, generator=generator) for _ in range(2))
    real = torch.arange(length) < torch.tensor(lengths)[:, None]
    asked, scored = (torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0])) for _ in range(2))
    ids = draw(st.lists(st.integers(0, 2**40), min_size=len(lengths), max_size=len(lengths), unique=True))
    labels = None
    if draw(st.booleans()):
        labels = torch.randn(*shape, K, D, generator=generator).half()
    asked = real & asked
    return Batch(inputs, targets, real, asked, torch.tensor(ids), asked & scored, labels)


@st.composite
def objectives(draw, kind):
    """An objective of a kind, and its keyword arguments."""
    arguments = dict(update=draw(st.integers(0, 50)), training=draw(st.booleans()))
    horizon = draw(some)
    if kind == "chunked_bptt":
        return ChunkedBackpropagation(draw(some), draw(st.integers(0, 2)), horizon), arguments
    if kind == "dmt":
        lengths = draw(st.sampled_from(CHUNK_LENGTHS))
        arguments |= {"chunk": draw(st.integers(1, horizon))} if lengths == "adaptive" else {}
        objective = DaggerMemoryTraining(
            rollout=draw(st.sampled_from(ROLLOUTS)),
            chunk=draw(some),
            chunk_lengths=lengths,
            passes=draw(st.integers(0, 2)),
            drift_backprop=draw(some),
            ce_backprop=draw(st.integers(0, LONGEST)),
            horizon=horizon,
        )
        return objective, arguments
    objective = SupervisedMemoryTraining(
        pursuit_weight=draw(st.sampled_from([0.0, 0.3])),
        future_positions=draw(few),
        readout_positions=draw(some),
        dynamics_positions=draw(st.integers(0, LONGEST)),
        label_pairs=draw(few),
        uniformity_tokens=draw(st.sampled_from([1, 2, 7, 512])),
        detach=draw(st.sampled_from(DETACH)),
        diagnostics_interval=draw(few),
        horizon=horizon,
    )
    return objective, arguments | {"ramp": draw(st.sampled_from([0.0, 0.4, 1.0]))}


@st.composite
def cases(draw, kinds=("smt", "dmt", "chunked_bptt"), dtypes=(torch.float32,)):
    kind = draw(st.sampled_from(kinds))
    vocabulary = SPECIALS + draw(st.sampled_from([1, 7]))
    head, future = draw(st.sampled_from(HEADS)), draw(st.sampled_from(["window", "far"]))
    futures = draw(st.integers(int(future == "far"), LONGEST))
    torch.manual_seed(0)
    cell = draw(st.sampled_from(list(CELLS) if kind == "chunked_bptt" else FOLLOWERS))
    rnn = RnnConfig(K, D, cell, cell_hidden=8, cell_layers=1, cell_heads=2)
    teacher = TeacherConfig(head, trunk_width=8, trunk_layers=1, trunk_heads=2, teacher_window=draw(some))
    modules = Modules(
        rnn=RecurrentLanguageModel(vocabulary, rnn),
        teacher=build_teacher(vocabulary, rnn, teacher),
        future=build_future(vocabulary, rnn, FutureConfig(future, futures, 8, future_layers=1, future_heads=2)),
    )
    for module in (modules.rnn, modules.teacher, modules.future):
        module.to(draw(st.shared(st.sampled_from(dtypes), key="dtype")))
    objective, arguments = draw(objectives(kind))
    batch = draw(batches(vocabulary))
    if kind == "chunked_bptt":
        modules, batch = replace(modules, teacher=None, future=None), replace(batch, labels=None)
    return Case(modules, batch, objective, arguments)


def same(a: dict, b: dict, names=None) -> None:
    assert a.keys() == b.keys()
    for name in a if names is None else names:
        for x, y in zip(a[name], b[name], strict=True):
            torch.testing.assert_close(
                x.double(), y.double(), atol=1e-4, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}"
            )


@settings(examples, max_examples=200)
@given(cases(dtypes=(torch.float32, torch.bfloat16, torch.float16)))
def test_losses_and_gradients_are_finite(case):
    terms = case()
    assert terms.loss.dtype == torch.float32 and terms.loss.isfinite()
    for name, (total, count) in terms.measures.items():
        assert torch.as_tensor(total).isfinite() and count >= 0, name
    terms.loss.backward()
    named = {f"rnn.{n}": p for n, p in case.modules.rnn.named_parameters()}
    if case.modules.teacher is not None:
        named = parameters(case.modules)
    for name, p in named.items():
        assert p.grad is None or p.grad.isfinite().all(), name


@examples
@given(cases(), st.sampled_from(["all", "rnn", "readout"]))
def test_gradients_reach_what_is_trained_and_nothing_else(case, train):
    modules, batch, objective = case.modules, case.batch, case.objective
    if train != "all":
        for module in (modules.rnn, modules.teacher, modules.future):
            if module is not None:
                module.requires_grad_(False)
        (modules.rnn if train == "rnn" else modules.rnn.readout).requires_grad_(True)
    case().loss.backward()
    sizes = {"cell": gradient_size(modules.rnn.cell), "readout": gradient_size(modules.rnn.readout)}
    for part in ("teacher", "future"):
        module = getattr(modules, part)
        sizes[part] = 0.0 if module is None else gradient_size(module)
    smt = isinstance(objective, SupervisedMemoryTraining)
    if not smt or train != "all" or batch.labels is not None:
        assert sizes["teacher"] == sizes["future"] == 0
    if train == "readout":
        assert sizes["cell"] == 0
    asked, real = bool(batch.asked.any()), bool(batch.real.any())
    drawn = not smt or not (case.modules.teacher.every_position is False and batch.labels is None)
    assert not asked or not drawn or sizes["readout"] > 0
    moved = case.arguments["ramp"] > 0 if smt else real
    if train != "readout" and (moved and real if not isinstance(objective, ChunkedBackpropagation) else asked):
        assert sizes["cell"] > 0


@settings(examples, max_examples=120)
@given(cases(), st.integers(0, 99))
def test_what_stands_in_padding_does_not_matter(case, seed):
    batch, generator = case.batch, torch.Generator().manual_seed(seed)
    vocabulary = case.modules.rnn.vocabulary
    inputs, targets = (
        torch.where(batch.real, x, torch.randint(vocabulary, x.shape, generator=generator))
        for x in (batch.inputs, batch.targets)
    )
    labels = batch.labels
    if labels is not None:
        other = 100 * torch.randn(labels.shape, generator=generator)
        labels = torch.where(batch.real[..., None, None], labels, other.half())
    a, b = case(), case(replace(batch, inputs=inputs, targets=targets, labels=labels))
    torch.testing.assert_close(a.loss, b.loss, atol=1e-5, rtol=1e-5)
    same(a.measures, b.measures)


@settings(examples, max_examples=120)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(case, random):
    rows = list(range(len(case.batch.ids)))
    random.shuffle(rows)
    a, b = case(), case(rows_of(case.batch, rows))
    torch.testing.assert_close(a.loss, b.loss, atol=1e-5, rtol=1e-5)
    same(a.measures, b.measures, a.measures.keys() - {"shuffled_nll"})


@settings(examples, max_examples=120)
@given(cases(), st.integers(1, 3))
def test_micro_batches_padded_to_their_own_lengths_add_up(case, cut):
    rows = list(range(len(case.batch.ids)))
    whole, parts = case(), [case(rows_of(case.batch, part, trim=True)) for part in (rows[:cut], rows[cut:]) if part]
    spread_over_rows = {"label_variance", "effective_rank", "uniformity", "shuffled_nll"}
    if getattr(case.objective, "rollout", "") == "sequential":
        spread_over_rows |= {"chunk_length"}
    total = {name: tuple(sum(p.measures[name][i].double() for p in parts) for i in range(2)) for name in whole.measures}
    same(total, whole.measures, whole.measures.keys() - spread_over_rows)


def rows_of(batch, rows, trim=False):
    """Some rows of a batch, maybe without the columns that are padding in all of them."""
    length = max(1, int(batch.real[rows].sum(1).max())) if trim else batch.inputs.shape[1]
    pick = {name: getattr(batch, name)[rows, :length] for name in ("inputs", "targets", "real", "asked", "scored")}
    labels = None if batch.labels is None else batch.labels[rows, :length]
    return Batch(**pick, ids=batch.ids[rows], labels=labels)


def step_by_step(case, labels, size, offset, cut):
    """The memories of a rollout from its definition, one call of the cell for one position of one row after another."""
    rnn, tokens, rollout = case.modules.rnn, case.batch.inputs, case.objective.rollout
    starts = {t for t in range(tokens.shape[1]) if t % size == offset % size} | {0}

    def run(memory, positions):
        for i, t in enumerate(positions):
            cuts = t == positions[-1] + 1 - cut if rollout == "jacobi" else cut and i % cut == 0
            memory = rnn.cell(memory.detach() if i and cuts else memory, rnn.cell.inputs(tokens[:, t]))
        return memory

    def chunk_of(t):
        return list(range(max(s for s in starts if s <= t), t + 1))

    sources = labels
    if rollout == "warm":
        for _ in range(case.objective.passes):
            times = range(tokens.shape[1])
            sources = torch.stack(
                [
                    run(sources[:, c[0] - 1] if c[0] else rnn.initial(len(tokens)), c)
                    for c in (chunk_of(t) for t in times)
                ],
                1,
            ).detach()
    memories = []
    for t in range(tokens.shape[1]):
        positions = list(range(max(0, t - size + 1), t + 1)) if rollout == "jacobi" else chunk_of(t)
        first = positions[0]
        memories.append(run(sources[:, first - 1] if first else rnn.initial(len(tokens)), positions))
    return torch.stack(memories, 1)


@settings(examples, max_examples=50)
@given(cases(kinds=("dmt",)))
def test_rollouts_side_by_side_equal_a_loop(case):
    objective, batch, rnn = case.objective, case.batch, case.modules.rnn
    labels = batch.labels.float() if batch.labels is not None else case.modules.teacher.labels(batch.inputs, batch.real)
    labels = labels.detach()
    size, offset = objective.chunk_at(case.arguments["update"], batch.inputs.shape[1], case.arguments.get("chunk"))
    for_drift, for_readout = (
        step_by_step(case, labels, size, offset, cut) for cut in (objective.drift_backprop, objective.ce_backprop)
    )
    if not objective.ce_backprop:
        for_readout = for_readout.detach()
    drift = losses.mean_of(*losses.dynamics(for_drift, labels, batch.real))
    expected = objective.drift_weight * drift
    expected = expected + losses.mean_of(*losses.cross_entropy(rnn.readout(for_readout), batch.targets, batch.asked))
    found = case().loss
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    leaves = list(rnn.parameters())
    for a, b in zip(*(torch.autograd.grad(x, leaves, materialize_grads=True) for x in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
