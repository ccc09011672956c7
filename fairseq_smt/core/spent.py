"""What a run has spent on training: time, tokens and depth, over all of its resumptions."""

import time

import torch

from fairseq_smt.core.schedules import Numbers, Remembering


class Spent(Remembering):
    """A stopwatch that runs from an update to the next validation, and two counters.

    Seconds are CPU-seconds of this process, all threads together, or with `gpu` those of the clock once the GPU has
    done what it was given. Processes that load data are not counted, nor is what happens between the beginning of a
    validation and the next update.

    Attributes:
        seconds: up to the last stop.
        tokens: read by updates, of all processes.
        depth: calls of the cell one after another (`core/depth.py`).
    """

    REMEMBERED = ("seconds", "tokens", "depth")

    def __init__(self) -> None:
        self.seconds, self.tokens, self.depth = 0.0, 0, 0
        self.gpu = False
        self._started: float | None = None

    def start(self, gpu: bool = False) -> None:
        """Let the stopwatch run; nothing happens if it does."""
        if self._started is None:
            self.gpu = gpu
            self._started = self._now()

    def stop(self) -> None:
        """Let it stand; nothing happens if it does."""
        if self._started is not None:
            self.seconds += self._now() - self._started
            self._started = None

    def state_dict(self) -> Numbers:
        """The counters, and the seconds up to now."""
        if self._started is not None:
            self.stop()
            self.start(self.gpu)
        return super().state_dict()

    def _now(self) -> float:
        if not self.gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()
