"""Locks: who comes second is told who was first, and nothing is left of a process that has ended."""

import errno
import json
import logging
import os
import socket
from pathlib import Path

import pytest

from fairseq_smt import locks
from fairseq_smt.errors import ConfigurationError
from fairseq_smt.locks import Lock


def told(path: Path, **changes) -> None:
    """A lock's file as a process that has ended leaves it, or with changes one that another host's holds."""
    path.write_text(json.dumps(locks._describe() | changes))


def ended() -> int:
    """Number of a process that has ended."""
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    return process


def without_system_locks(monkeypatch) -> None:
    def flock(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)


def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Lock(path, "is here").take()
    return str(caught.value)


def test_the_second_is_told_who_holds_it_until_it_is_released(tmp_path):
    path = tmp_path / "run.lock"
    with Lock(path, "is here"):
        sentence = refused(path)
        assert sentence.startswith(f"process {os.getpid()} of host {socket.gethostname()} (since 20")
        assert sentence.endswith(" is here.")
    assert not path.exists()
    with Lock(path, "is here"):
        assert path.exists()


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path, caplog):
    path = tmp_path / "run.lock"
    process = os.fork()
    if process == 0:
        Lock(path, "is here").take()
        os._exit(0)  # removes nothing, like a kill
    os.waitpid(process, 0)
    assert f'"process": {process}' in path.read_text()
    with caplog.at_level(logging.INFO), Lock(path, "is here"):
        assert f"left by process {process} of host" in caplog.text
        assert f"process {os.getpid()} of host" in refused(path)


def test_a_worker_that_outlives_its_parent_does_not_hold_it(tmp_path):
    path = tmp_path / "run.lock"
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        lock = Lock(path, "is here")
        lock.take()
        started, start = os.pipe()
        if os.fork() == 0:  # like a worker that loads data
            os.write(start, b"1")
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.read(started, 1)
        os._exit(0)
    os.waitpid(process, 0)
    with Lock(path, "is here"):
        assert str(os.getpid()) in path.read_text()
    os.close(writing)
    os.close(reading)


def test_another_host_may_still_hold_what_is_not_locked_here(tmp_path, monkeypatch):
    path = tmp_path / "run.lock"
    told(path, host="elsewhere", process=7)
    before = path.read_text()
    sentence = refused(path)
    assert "process 7 of host elsewhere" in sentence and f"if that process is gone, remove {path}" in sentence
    assert path.read_text() == before
    told(path, host="elsewhere", job="12")
    monkeypatch.setenv("SLURM_JOB_ID", "12")  # the same job, started again on this host
    with Lock(path, "is here"):
        pass


def test_without_locks_of_the_system_the_process_decides(tmp_path, monkeypatch):
    without_system_locks(monkeypatch)
    path = tmp_path / "run.lock"
    with Lock(path, "is here"):
        assert f"process {os.getpid()} of host" in refused(path)
    told(path, process=ended())
    with Lock(path, "is here"):
        pass
    told(path, start=1)  # this process has the number of one before it
    with Lock(path, "is here"):
        pass


@pytest.mark.parametrize("content", ["", "host a, process 1", "[1]", "{"])
def test_a_file_that_names_nobody_stops_nobody(tmp_path, content):
    path = tmp_path / "run.lock"
    path.write_text(content)
    with Lock(path, "is here"):
        assert str(os.getpid()) in path.read_text()


def test_a_file_removed_by_its_holder_meanwhile_is_not_held(tmp_path, monkeypatch):
    """Between opening and locking the file, the process that held it has removed it, and a third one made it anew."""
    path, flock = tmp_path / "run.lock", locks.fcntl.flock

    def late(file, operation):
        if not (tmp_path / "removed").exists():
            path.rename(tmp_path / "removed")
            path.touch()
        return flock(file, operation)

    monkeypatch.setattr("fcntl.flock", late)
    with Lock(path, "is here"):
        assert str(os.getpid()) in path.read_text() and not (tmp_path / "removed").read_text()
        refused(path)


def test_releasing_leaves_the_file_of_another(tmp_path):
    path = tmp_path / "run.lock"
    with Lock(path, "is here"):
        path.unlink()
        told(path, process=1)
    assert path.exists()
