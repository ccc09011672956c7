"""An end of the process without an abort.

fairseq loads ahead in daemon threads. Python cuts these off at its end, and one that is inside torch at that moment
takes the process down. That is "terminate called without an active exception" and exit status 134, even after a
training that went well. Here they fetch under a lock, which the process takes before it ends.
"""

import atexit
import threading
import weakref
from collections.abc import Iterable, Iterator

from fairseq.data import iterators

from fairseq_smt.replacing import original, replace

PATIENCE = 10.0
"""Seconds to wait for a fetch that is under way."""

_consumers: "weakref.WeakSet[PausedConsumer]" = weakref.WeakSet()


class PausedConsumer(original(iterators, "BackgroundConsumer")):
    """fairseq's thread, which fetches nothing once it has been paused."""

    def __init__(self, queue, source, max_len, cuda_device):
        self.fetching = threading.Lock()
        super().__init__(queue, self._fetched(source), max_len, cuda_device)
        _consumers.add(self)

    def _fetched(self, source: Iterable) -> Iterator:
        with self.fetching:
            iterator = iter(source)
        while True:
            with self.fetching:
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def pause(self) -> None:
        """Let a fetch that is under way end, and no other begin."""
        self.fetching.acquire(timeout=PATIENCE)


@atexit.register
def pause_all() -> None:
    """Pause every thread that still loads."""
    for consumer in list(_consumers):
        if consumer.is_alive():
            consumer.pause()


replace(iterators, "BackgroundConsumer", PausedConsumer)
