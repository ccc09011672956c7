"""Ctrl-C for commands that finish what they are about."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupts:
    """Ctrl-C, noted for the command to look at; a second one ends it at once, and so does the first while it waits.

    Attributes:
        arrived: whether there was one.
    """

    def __init__(self) -> None:
        self.arrived = self._waiting = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note Ctrl-C, unless the system is told to ignore it (a command of a script that ends in `&`)."""
        before = signal.getsignal(signal.SIGINT)
        if before == signal.SIG_IGN:
            yield
            return
        signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What Ctrl-C ends at once, by `KeyboardInterrupt`."""
        self._waiting = True
        try:
            if self.arrived:
                raise KeyboardInterrupt
            yield
        finally:
            self._waiting = False

    def _note(self, *_) -> None:
        second, self.arrived = self.arrived, True
        if self._waiting or second:
            raise KeyboardInterrupt
