"""Schedules: bounds, monotony, and as good restored as never interrupted."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.schedules import AdaptiveChunk, LengthCurriculum, Ramp, Schedules, Span, WaitingRamp

updates = st.integers(0, 10**6)
values = st.lists(st.floats(0, 10) | st.just(math.nan), max_size=40)


@given(length=st.integers(0, 10**5), update=updates)
def test_a_ramp_rises_from_0_to_1(length, update):
    ramp = Ramp(Span(length))
    assert 0 <= ramp.factor(update) <= ramp.factor(update + 1) <= 1
    assert ramp.factor(length) == 1 and ramp.factor(0) == (0 if length else 1)


def waiting(length: int, below: float, patience: int = 1) -> WaitingRamp:
    return WaitingRamp(Ramp(Span(length)), below, patience)


def play(ramp: WaitingRamp, values: list[float], first: int = 0) -> list[float]:
    """Factors of a run's updates from `first` on."""
    factors = []
    for update, value in enumerate(values, first):
        factors.append(ramp.factor(update))
        ramp.observe(update + 1, value)
    return factors


def test_the_ramp_starts_after_patience_updates_in_a_row_below():
    ramp = waiting(4, below=3.0, patience=2)
    assert play(ramp, [4, 2, 4, 2, 2, 9, 9, 9, 9, 9]) == [0, 0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1]
    assert ramp.state_dict() == {"streak": 2, "started": 5}


def test_nan_and_the_threshold_itself_are_not_below():
    assert play(waiting(0, below=3.0, patience=2), [2, math.nan, 2, 3.0, 2, 2, 2]) == [0, 0, 0, 0, 0, 0, 1]


def test_without_a_threshold_the_ramp_starts_at_once():
    assert play(WaitingRamp(Ramp(Span(4))), [9] * 6) == [0, 0.25, 0.5, 0.75, 1, 1]


@given(values, st.integers(0, 40), st.integers(1, 5), st.integers(0, 5))
def test_a_run_cut_anywhere_continues_from_its_state(values, cut, patience, length):
    first, second, uncut = (waiting(length, 5.0, patience) for _ in range(3))
    whole = play(uncut, values)
    cut = min(cut, len(values))
    before = play(first, values[:cut])
    second.load_state_dict(first.state_dict())
    assert before + play(second, values[cut:], cut) == whole and second.state_dict() == uncut.state_dict()
    assert whole == sorted(whole) and all(type(x) is int for x in uncut.state_dict().values())


@given(st.integers(1, 500), st.integers(0, 500), updates, updates)
def test_the_curriculum_grows_from_start_to_the_full_length(start, more, length, update):
    full = start + more
    curriculum = LengthCurriculum(start, Span(length), full)
    assert start <= curriculum.length(update) <= curriculum.length(update + 1) <= full
    assert curriculum.length(length) == full and curriculum.length(0) == (start if length else full)


def test_the_curriculum_grows_evenly():
    assert [LengthCurriculum(4, Span(8), 24).length(update) for update in range(9)] == [4, 6, 9, 11, 14, 16, 19, 21, 24]


def test_no_curriculum():
    assert {LengthCurriculum(0, Span(100), 7).length(update) for update in range(200)} == {7}


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: LengthCurriculum(33, Span(10), 32),
            "--curriculum-start 33 is longer than a block: --tokens-per-sample is 32",
        ),
        (lambda: LengthCurriculum(-1, Span(10), 32), "--curriculum-start must not be negative"),
        (lambda: waiting(1, 3.0, 0), "--dynamics-wait-patience must be positive"),
        (lambda: waiting(1, -1.0), "--dynamics-wait-below must not be negative, got -1.0"),
        (lambda: waiting(1, math.nan), "--dynamics-wait-below must be a finite number, not nan"),
        (lambda: Span(-5, 100, "--curriculum-updates"), "--curriculum-updates must not be negative, got -5"),
    ],
)
def test_schedules_that_cannot_work(make, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        make()


def test_the_default_is_half_of_the_run():
    assert [Span(-1, 100).updates, Span(-1, 0).updates, Span(7, 100).updates] == [50, 2000, 7]


@pytest.mark.parametrize(
    "flag, max_update, updates, sentence",
    [
        (-1, 100, 50, None),
        (-1, 400, 50, "--ramp stays 50, as this run began, where half of --max-update would now be 200: give --ramp"),
        (50, 400, 50, None),
        (70, 400, 70, "--ramp 70 takes the place of the 50 updates that this run began with"),
    ],
)
def test_a_run_that_is_extended_keeps_its_span_unless_the_flag_is_given(flag, max_update, updates, sentence):
    span = Span(flag, max_update, "--ramp")
    ramp, curriculum = Ramp(span), LengthCurriculum(4, span, 104)
    told = Schedules(ramp=span).load_state_dict({"ramp": Span(-1, 100).state_dict()})
    assert ramp.factor(updates // 2) == 0.5 and curriculum.length(updates // 2) == 54
    assert len(told) == bool(sentence) and all(text.startswith(sentence) for text in told)


def test_a_schedule_that_a_checkpoint_does_not_know_begins_anew():
    schedules = Schedules(wait=waiting(4, 3.0, 2), chunk=AdaptiveChunk(16, 64))
    begun = schedules.state_dict()
    assert schedules.load_state_dict({}) == [] == schedules.load_state_dict({"another": {"x": 1}})
    assert schedules.state_dict() == begun
    schedules.load_state_dict({"chunk": {"length": 20.5}})
    assert schedules.state_dict() == begun | {"chunk": {"length": 20.5}}


def run_chunks(chunk: AdaptiveChunk, drifts: list[float]) -> list[int]:
    """Chunk lengths of a run's updates."""
    lengths = []
    for drift in drifts:
        lengths.append(chunk.chunk)
        chunk.observe(drift)
    return lengths


drifts = st.lists(st.floats(0, 0.2) | st.just(math.nan), max_size=40)
sizes = st.tuples(st.integers(1, 300), st.integers(1, 200))


@given(sizes, st.lists(st.sampled_from([0.0, 1.0, math.nan]), max_size=40))
def test_a_chunk_has_1_to_t_positions(size, drifts):
    chunk = AdaptiveChunk(*size)
    lengths = run_chunks(chunk, drifts * 20)
    assert all(1 <= length <= chunk.full for length in lengths)
    assert type(chunk.length) is float and (not lengths or lengths[0] == min(chunk.start, chunk.full))


def test_chunks_grow_near_the_labels_shrink_far_from_them_and_reach_both_ends():
    chunk = AdaptiveChunk(start=16, full=64)
    grown = run_chunks(chunk, [0.01] * 60)
    assert grown == sorted(grown) and grown[:2] == [16, 16] and grown[-1] == 64
    assert run_chunks(chunk, [0.03, 0.045, 0.06, math.nan]) == [64] * 4 and chunk.chunk == 64
    shrunk = run_chunks(chunk, [0.07] * 200)
    assert shrunk == sorted(shrunk, reverse=True) and shrunk[-1] == 1


@given(sizes, drifts, st.integers(0, 40))
def test_chunks_of_a_run_cut_anywhere_continue_from_their_state(size, drifts, cut):
    first, second, uncut = (AdaptiveChunk(*size) for _ in range(3))
    whole = run_chunks(uncut, drifts)
    before = run_chunks(first, drifts[:cut])
    second.load_state_dict(first.state_dict())
    assert before + run_chunks(second, drifts[cut:]) == whole and second.state_dict() == uncut.state_dict()
