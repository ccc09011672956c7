"""Schedules: bounds, monotony, and those with a state are as good restored as never interrupted."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.schedules import AdaptiveChunk, LengthCurriculum, Ramp, WaitingRamp, updates_or_half

updates = st.integers(0, 10**6)
values = st.lists(st.floats(0, 10) | st.just(math.nan), max_size=40)


@given(length=st.integers(0, 10**5), update=updates)
def test_a_ramp_rises_from_0_to_1(length, update):
    ramp = Ramp(length)
    assert 0 <= ramp.factor(update) <= ramp.factor(update + 1) <= 1
    assert ramp.factor(length) == 1 and ramp.factor(0) == (0 if length else 1)


def play(ramp: WaitingRamp, values: list[float], state=WaitingRamp.INITIAL, first: int = 0):
    """Factors of a run's updates from `first` on, and the state after it."""
    factors = []
    for update, value in enumerate(values, first):
        factors.append(ramp.factor(update, state))
        state = ramp.observe(state, update + 1, value)
    return factors, state


def test_the_ramp_starts_after_patience_updates_in_a_row_below():
    ramp = WaitingRamp(Ramp(4), below=3.0, patience=2)
    factors, state = play(ramp, [4, 2, 4, 2, 2, 9, 9, 9, 9, 9])
    assert factors == [0, 0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1]
    assert state == (10, 2, 5)


def test_nan_and_the_threshold_itself_are_not_below():
    ramp = WaitingRamp(Ramp(0), below=3.0, patience=2)
    assert play(ramp, [2, math.nan, 2, 3.0, 2, 2, 2])[0] == [0, 0, 0, 0, 0, 0, 1]


def test_without_a_threshold_the_ramp_starts_at_once():
    assert play(WaitingRamp(Ramp(4)), [9] * 6)[0] == [0, 0.25, 0.5, 0.75, 1, 1]


@given(values, st.integers(0, 40), st.integers(1, 5), st.integers(0, 5))
def test_a_run_cut_anywhere_continues_from_its_state(values, cut, patience, length):
    ramp = WaitingRamp(Ramp(length), below=5.0, patience=patience)
    whole, end = play(ramp, values)
    cut = min(cut, len(values))
    first, state = play(ramp, values[:cut])
    second, last = play(ramp, values[cut:], state, cut)
    assert first + second == whole and last == end
    assert whole == sorted(whole) and all(isinstance(x, int) for x in end)


@given(values.filter(len), values)
def test_a_new_run_with_the_state_of_another_waits_again(before, values):
    ramp = WaitingRamp(Ramp(3), below=5.0, patience=2)
    state = play(ramp, before)[1]
    assert play(ramp, values, state)[0] == play(ramp, values)[0]


@given(st.integers(1, 500), st.integers(0, 500), updates, updates)
def test_the_curriculum_grows_from_start_to_the_full_length(start, more, length, update):
    full = start + more
    curriculum = LengthCurriculum(start, length, full)
    assert start <= curriculum.length(update) <= curriculum.length(update + 1) <= full
    assert curriculum.length(length) == full and curriculum.length(0) == (start if length else full)


def test_the_curriculum_grows_evenly():
    assert [LengthCurriculum(4, 8, 24).length(update) for update in range(9)] == [4, 6, 9, 11, 14, 16, 19, 21, 24]


def test_no_curriculum():
    assert {LengthCurriculum(0, 100, 7).length(update) for update in range(200)} == {7}


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: LengthCurriculum(33, 10, 32),
            "--curriculum-start 33 is longer than a block: --tokens-per-sample is 32",
        ),
        (lambda: LengthCurriculum(-1, 10, 32), "--curriculum-start must not be negative"),
        (lambda: WaitingRamp(Ramp(1), 3.0, 0), "--dynamics-wait-patience must be positive"),
        (lambda: WaitingRamp(Ramp(1), -1.0), "--dynamics-wait-below must not be negative, got -1.0"),
        (lambda: WaitingRamp(Ramp(1), math.nan), "--dynamics-wait-below must be a finite number, not nan"),
    ],
)
def test_schedules_that_cannot_work(make, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        make()


def test_the_default_is_half_of_the_run():
    assert [updates_or_half(-1, 100), updates_or_half(-1, 0), updates_or_half(7, 100)] == [50, 2000, 7]


def run_chunks(chunk: AdaptiveChunk, drifts: list[float], state=WaitingRamp.INITIAL, first: int = 0):
    """Chunk lengths of a run's updates from `first` on, and the state after it."""
    lengths = []
    for update, drift in enumerate(drifts, first):
        lengths.append(chunk.length(update, state))
        state = chunk.observe(state, update + 1, drift)
    return lengths, state


drifts = st.lists(st.floats(0, 0.2) | st.just(math.nan), max_size=40)
chunks = st.builds(AdaptiveChunk, start=st.integers(1, 300), full=st.integers(1, 200))


@given(chunks, st.lists(st.sampled_from([0.0, 1.0, math.nan]), max_size=40))
def test_a_chunk_has_1_to_t_positions(chunk, drifts):
    lengths, state = run_chunks(chunk, drifts * 20)
    assert all(1 <= length <= chunk.full for length in lengths)
    assert all(isinstance(x, int) for x in state) and (not lengths or lengths[0] == min(chunk.start, chunk.full))


def test_chunks_grow_near_the_labels_shrink_far_from_them_and_reach_both_ends():
    chunk = AdaptiveChunk(start=16, full=64)
    grown, state = run_chunks(chunk, [0.01] * 60)
    assert grown == sorted(grown) and grown[:2] == [16, 16] and grown[-1] == 64
    kept, state = run_chunks(chunk, [0.03, 0.045, 0.06, math.nan], state, 60)
    assert kept == [64] * 4 and chunk.length(64, state) == 64
    shrunk, _ = run_chunks(chunk, [0.07] * 200, state, 64)
    assert shrunk == sorted(shrunk, reverse=True) and shrunk[-1] == 1


@given(chunks, drifts, st.integers(0, 40))
def test_chunks_of_a_run_cut_anywhere_continue_from_their_state(chunk, drifts, cut):
    whole, end = run_chunks(chunk, drifts)
    cut = min(cut, len(drifts))
    first, state = run_chunks(chunk, drifts[:cut])
    second, last = run_chunks(chunk, drifts[cut:], state, cut)
    assert first + second == whole and last == end


@given(chunks, drifts.filter(len), drifts)
def test_chunks_of_a_new_run_begin_at_the_start(chunk, before, drifts):
    state = run_chunks(chunk, before)[1]
    assert run_chunks(chunk, drifts, state)[0] == run_chunks(chunk, drifts)[0]


def test_the_state_of_a_waiting_ramp_says_nothing_of_chunks():
    ramp = WaitingRamp(Ramp(3), below=3.0, patience=2)
    for values in ([9], [1, 1, 1, 1]):
        state = play(ramp, values)[1]
        assert run_chunks(AdaptiveChunk(16, 64), [0.0] * 3, state)[0] == [16, 16, 16]


def test_adaptive_chunks_do_not_read_the_state_of_a_waiting_ramp():
    assert AdaptiveChunk(16, 128).length(1000, (600, 10, 300)) == 16
