"""Schedules: factors and lengths that depend on the update, exact across resume and equal in every process.

`Ramp` and `LengthCurriculum` are functions of the update. `WaitingRamp` and `AdaptiveChunk` also depend on a measure.
What a schedule remembers are plain numbers, which `Schedules` collects for the checkpoint.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from fairseq_smt.core.errors import require, require_not_negative, require_positive

Numbers = dict[str, int | float]


class Remembering:
    """What goes on in a resumed run where it was: the fields named in `REMEMBERED`."""

    REMEMBERED: ClassVar[tuple[str, ...]]

    def state_dict(self) -> Numbers:
        """Plain numbers by name."""
        return {name: getattr(self, name) for name in self.REMEMBERED}

    def load_state_dict(self, state: Numbers) -> str | None:
        """Go on from a state; a sentence for the log where the run goes on otherwise than its flags say."""
        for name in self.REMEMBERED:
            setattr(self, name, state[name])


class Schedules(dict[str, Remembering]):
    """What the schedules of one run remember, by name."""

    def state_dict(self) -> dict[str, Numbers]:
        """For the checkpoint."""
        return {name: schedule.state_dict() for name, schedule in self.items()}

    def load_state_dict(self, state: dict[str, Numbers]) -> list[str]:
        """Go on from a checkpoint of the same run; what it does not know begins anew. Sentences for the log."""
        told = [schedule.load_state_dict(state[name]) for name, schedule in self.items() if name in state]
        return [sentence for sentence in told if sentence]


@dataclass
class Span(Remembering):
    """How many updates a schedule takes. A run that is resumed with a larger `max_update` keeps its number.

    Attributes:
        updates: the number; if -1, half of the run, 2000 where its length is not known.
        max_update: updates of the run, 0 if not known.
        flag: that sets the number.
    """

    REMEMBERED = ("updates",)

    updates: int
    max_update: int = 0
    flag: str = "--updates"

    def __post_init__(self) -> None:
        require(self.updates >= -1, f"{self.flag} must not be negative, got {self.updates}; -1 is half of the run.")
        self._given = self.updates >= 0
        if not self._given:
            self.updates = self.max_update // 2 if self.max_update > 0 else 2000

    def load_state_dict(self, state: Numbers) -> str | None:
        here, begun = self.updates, state["updates"]
        if here == begun:
            return None
        if self._given:
            return f"{self.flag} {here} takes the place of the {begun} updates that this run began with"
        self.updates = begun
        return (
            f"{self.flag} stays {begun}, as this run began, where half of --max-update would now be {here}: give "
            f"{self.flag} to change it"
        )


@dataclass
class Ramp:
    """A factor that grows linearly from 0 to 1 over a span; 1 throughout for 0 updates."""

    span: Span

    def factor(self, update: int) -> float:
        """The factor at an update, in [0, 1]."""
        return min(1.0, update / self.span.updates) if self.span.updates else 1.0


@dataclass
class WaitingRamp(Remembering):
    """A ramp that starts once a measure was below a threshold for some updates in a row.

    Attributes:
        ramp: the factor once it has started; it is 0 before.
        below: the threshold; 0 does not wait: the ramp starts at update 0.
        patience: updates in a row, at least 1.
        streak: updates in a row below, so far.
        started: update of the start, or -1.
    """

    REMEMBERED = ("streak", "started")

    ramp: Ramp
    below: float = 0.0
    patience: int = 1
    streak: int = field(default=0, init=False)
    started: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        require_not_negative(dynamics_wait_below=self.below)
        require_positive(dynamics_wait_patience=self.patience)

    @property
    def waits(self) -> bool:
        return self.below > 0

    def factor(self, update: int) -> float:
        """The factor at an update, after the observations before it."""
        if not self.waits:
            return self.ramp.factor(update)
        return 0.0 if self.started < 0 else self.ramp.factor(update - self.started)

    def observe(self, update: int, value: float) -> None:
        """Take note of the measure's value after `update` updates; NaN counts as not below."""
        if self.started < 0:
            self.streak = self.streak + 1 if value < self.below else 0
            if self.streak >= self.patience:
                self.started = update


@dataclass
class LengthCurriculum:
    """The length of the blocks at an update: grows from `start` to `full` over a span, then stays there.

    Attributes:
        start: length at update 0; 0 for the full length throughout.
        span: over which the length grows.
        full: T.
    """

    start: int
    span: Span
    full: int

    def __post_init__(self) -> None:
        require(self.start >= 0, f"--curriculum-start must not be negative, got {self.start}.")
        require(
            self.start <= self.full,
            f"--curriculum-start {self.start} is longer than a block: --tokens-per-sample is {self.full}.",
        )

    def length(self, update: int) -> int:
        """Between `start` and `full`, never falling."""
        if not self.start or update >= self.span.updates:
            return self.full
        return self.start + (self.full - self.start) * update // self.span.updates


@dataclass
class AdaptiveChunk(Remembering):
    """A chunk length that grows while the RNN stays near the labels, and shrinks where it drifts off.

    Attributes:
        start: length at the beginning.
        full: T, the greatest length.
        grow, shrink: factors on the length after an update.
        near, far: drift over label variance below which the length grows, and above which it shrinks.
        length: between 1 and `full`, not rounded.
    """

    REMEMBERED = ("length",)

    start: int
    full: int
    grow: float = 1.03
    shrink: float = 0.97
    near: float = 0.03
    far: float = 0.06
    length: float = field(init=False)

    def __post_init__(self) -> None:
        self.length = float(min(self.start, self.full))

    @property
    def chunk(self) -> int:
        """Positions of a chunk in the next update."""
        return max(1, int(self.length))

    def observe(self, drift: float) -> None:
        """Take note of the drift of an update, over label variance."""
        factor = self.grow if drift < self.near else self.shrink if drift > self.far else 1.0
        self.length = min(max(self.length * factor, 1.0), float(self.full))
