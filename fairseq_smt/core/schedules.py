"""Schedules: factors and lengths that depend on the update, exact across resume and equal in every process.

`Ramp` and `LengthCurriculum` are pure functions of the update. `WaitingRamp` and `AdaptiveChunk` also depend on a
measure; what they remember are three integers, which their caller stores with the model.
"""

from dataclasses import dataclass

from fairseq_smt.core.errors import require, require_not_negative, require_positive


@dataclass(frozen=True)
class Ramp:
    """A factor that grows linearly from 0 to 1 over `updates`; 1 throughout for 0 updates."""

    updates: int

    def __post_init__(self) -> None:
        require(self.updates >= 0, f"a ramp needs a number of updates that is not negative, not {self.updates}.")

    def factor(self, update: int) -> float:
        """The factor at an update, in [0, 1]."""
        return min(1.0, update / self.updates) if self.updates else 1.0


@dataclass(frozen=True)
class WaitingRamp:
    """A ramp that starts once a measure was below a threshold for some updates in a row.

    Attributes:
        ramp: the factor once it has started; it is 0 before.
        below: the threshold; 0 does not wait: the ramp starts at update 0.
        patience: updates in a row, at least 1.
    """

    INITIAL = (0, 0, -1)
    """State before anything was observed: last observed update, updates in a row below, update of the start or -1."""

    ramp: Ramp
    below: float = 0.0
    patience: int = 1

    def __post_init__(self) -> None:
        require_not_negative(dynamics_wait_below=self.below)
        require_positive(dynamics_wait_patience=self.patience)

    @property
    def waits(self) -> bool:
        return self.below > 0

    def factor(self, update: int, state: tuple[int, int, int] = INITIAL) -> float:
        """The factor at an update, given the state after the last observation."""
        if not self.waits:
            return self.ramp.factor(update)
        last, _, started = state
        waiting = started < 0 or update < last
        return 0.0 if waiting else self.ramp.factor(update - started)

    def observe(self, state: tuple[int, int, int], update: int, value: float) -> tuple[int, int, int]:
        """The state after the measure's value of an update; NaN counts as not below.

        An update that is not after the last one observed belongs to a new run: the wait begins again.
        """
        last, streak, started = state
        if update <= last:
            streak, started = 0, -1
        if started < 0:
            streak = streak + 1 if value < self.below else 0
            if streak >= self.patience:
                started = update
        return update, streak, started


@dataclass(frozen=True)
class LengthCurriculum:
    """The length of the blocks at an update: grows from `start` to `full` over `updates`, then stays there.

    Attributes:
        start: length at update 0; 0 for the full length throughout.
        updates: over which the length grows.
        full: T.
    """

    start: int
    updates: int
    full: int

    def __post_init__(self) -> None:
        require(self.start >= 0, f"--curriculum-start must not be negative, got {self.start}.")
        require(
            self.start <= self.full,
            f"--curriculum-start {self.start} is longer than a block: --tokens-per-sample is {self.full}.",
        )
        require(self.updates >= 0, f"a curriculum needs a number of updates that is not negative, not {self.updates}.")

    def length(self, update: int) -> int:
        """Between `start` and `full`, never falling."""
        if not self.start or update >= self.updates:
            return self.full
        return self.start + (self.full - self.start) * update // self.updates


def updates_or_half(updates: int, max_update: int) -> int:
    """`updates`, or if negative half of the training run, 2000 where its length is not known."""
    if updates >= 0:
        return updates
    return max_update // 2 if max_update > 0 else 2000


@dataclass(frozen=True)
class AdaptiveChunk:
    """A chunk length that grows while the RNN stays near the labels, and shrinks where it drifts off.

    Attributes:
        start: length at the beginning.
        full: T, the greatest length.
        grow, shrink: factors on the length after an update.
        near, far: drift over label variance below which the length grows, and above which it shrinks.
    """

    UNIT = 1 << 20
    """The state keeps lengths as multiples of 1 / UNIT, in integers."""

    start: int
    full: int
    grow: float = 1.03
    shrink: float = 0.97
    near: float = 0.03
    far: float = 0.06

    def _length(self, update: int, state: tuple[int, ...]) -> int:
        last, length, _ = state
        return length if 0 < last <= update and length >= self.UNIT else min(self.start, self.full) * self.UNIT

    def length(self, update: int, state: tuple[int, ...]) -> int:
        """The chunk length of an update, between 1 and `full`, given the state after the last observation."""
        return max(1, self._length(update, state) // self.UNIT)

    def observe(self, state: tuple[int, ...], update: int, drift: float) -> tuple[int, int, int]:
        """The state after the drift of an update; an update that is not after the last one begins a new run."""
        length = self._length(update - 1, state)
        factor = self.grow if drift < self.near else self.shrink if drift > self.far else 1.0
        return update, min(max(round(length * factor), self.UNIT), self.full * self.UNIT), -1
