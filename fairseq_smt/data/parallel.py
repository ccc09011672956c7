"""A function over many tasks by several processes."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from fairseq_smt.core.errors import ConfigurationError

_function: Callable[[Any], Any]


def ordered(function: Callable[[Any], Any], tasks: Iterable[Any], workers: int) -> Iterator[Any]:
    """Results in the order of the tasks; only a few tasks ahead are under way, however slow the caller is.

    Args:
        function: reaches the processes by their fork, so that it may hold anything; tasks and results are pickled.
        workers: processes; 1 works in this one.

    Raises:
        ConfigurationError: when the system starts no process, or ends one.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    fork = multiprocessing.get_context("fork")
    with _starting(
        workers, "shared memory", ", and make room in /dev/shm or mount it to be written"
    ):  # of the semaphores of its queues
        pool = ProcessPoolExecutor(workers, fork, initializer=_begin, initargs=(function,))
    with _starting(workers, "more processes"):
        pool.submit(int)  # the first task starts all processes
    with pool:
        pending = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(_call, task))
                if len(pending) >= 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise ConfigurationError(
                "a process of --workers was ended from outside, perhaps for want of memory: give fewer."
            ) from None


@contextmanager
def _starting(workers: int, what: str, remedy: str = "") -> Iterator[None]:
    earlier = multiprocessing.active_children()
    try:
        yield
    except (OSError, OverflowError, RuntimeError) as error:  # the last one is of threads
        for process in multiprocessing.active_children():
            if process not in earlier:  # Python would wait for it at its end, and it for a task
                process.kill()
                process.join()
                process.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"--workers {workers} gets no {what} from the system ({reason}): give --workers 1{remedy}."
        ) from error


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _call(task: Any) -> Any:
    return _function(task)
