"""Several processes: results in order, a bounded number ahead, and failures that reach the caller."""

import builtins
import errno
import itertools
import multiprocessing
import os
import signal
import threading
from multiprocessing import synchronize
from unittest import mock

import pytest

from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.data.fairseq_files import fairseq_files
from fairseq_smt.data.parallel import ordered
from fairseq_smt.data.preparation import Settings, prepare
from fairseq_smt.data.splits import split_by_share


@pytest.mark.parametrize("workers", [1, 3])
def test_results_are_in_order_and_few_are_ahead(workers):
    drawn = []

    def tasks():
        for i in range(50):
            drawn.append(i)
            yield i

    offset = 7  # a closure reaches the processes
    found = []
    for result in ordered(lambda i: i * i + offset, tasks(), workers):
        found.append(result)
        assert len(drawn) - len(found) < 2 * workers
    assert found == [i * i + 7 for i in range(50)]


def test_the_work_is_done_by_other_processes():
    processes = set(ordered(lambda _: os.getpid(), range(20), 2))
    assert processes and os.getpid() not in processes


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sentence_of_a_process_is_the_callers(workers):
    with pytest.raises(ConfigurationError, match="^not 3$"):
        list(ordered(lambda i: require(i != 3, f"not {i}"), range(9), workers))


def test_a_process_that_is_ended_from_outside():
    with pytest.raises(ConfigurationError, match="a process of --workers was ended"):
        list(ordered(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(9), 2))


SYSTEM = {
    "semaphores": (synchronize._multiprocessing, "SemLock", OSError(errno.EROFS, "Read-only file system")),
    "space for semaphores": (synchronize._multiprocessing, "SemLock", OSError(errno.ENOSPC, "No space left on device")),
    "forks": (os, "fork", BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")),
    "memory": (os, "fork", OSError(errno.ENOMEM, "Cannot allocate memory")),
    "threads": (threading.Thread, "start", RuntimeError("can't start new thread")),
}


def refuse(monkeypatch, what: str, after: int = 0) -> str:
    """Let the system refuse a thing after some; returns its words."""
    owner, name, error = SYSTEM[what]
    effects = itertools.chain([mock.DEFAULT] * after, itertools.repeat(error))  # tqdm swallows one
    given = mock.Mock(side_effect=effects, wraps=getattr(owner, name))
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: given(*args, **kwargs))
    return getattr(error, "strerror", None) or str(error)


@pytest.mark.parametrize("what, after", [(what, 0) for what in SYSTEM] + [("semaphores", 2), ("forks", 2)])
def test_a_system_that_starts_no_processes_is_told_and_none_is_left(tmp_path, monkeypatch, what, after):
    (tmp_path / "text").write_text("a text " * 99)
    reason, destdir = refuse(monkeypatch, what, after), tmp_path / "data"
    lacking = "shared memory" if "semaphores" in what else "more processes"
    with pytest.raises(ConfigurationError, match=rf"^--workers 3 gets no {lacking} .* \({reason}\): give --workers 1"):
        prepare([str(tmp_path / "text")], lambda texts: split_by_share(texts, 0.1, 0.1), destdir, Settings(workers=3))
    assert not multiprocessing.active_children() and os.listdir(tmp_path) == ["text"]


def test_a_number_of_processes_that_no_system_has():
    with pytest.raises(ConfigurationError, match="^--workers 1000000000000 gets no"):
        list(ordered(str, range(9), 10**12))


def test_fairseq_needs_shared_memory_itself(monkeypatch):
    """A remedy that works: no flag avoids the semaphore that fairseq makes when it is imported."""

    def refuse(name, *rest, **kwargs):
        if name == "fairseq.data":
            raise OSError(errno.EROFS, "Read-only file system")
        return plain(name, *rest, **kwargs)

    plain = builtins.__import__
    monkeypatch.setattr("builtins.__import__", refuse)
    with pytest.raises(ConfigurationError, match=r"^fairseq gets no shared memory .*: make room in /dev/shm"):
        fairseq_files()
