"""Locks of what one process at a time may write, which end with their process and say whose they are."""

import fcntl
import json
import logging
import os
import socket
import time
import weakref
from pathlib import Path
from typing import Any

from fairseq_smt.core.errors import ConfigurationError

logger = logging.getLogger(__name__)

_held: "weakref.WeakSet[Lock]" = weakref.WeakSet()


class Lock:
    """A file that is locked by the system and tells host, process and start of who holds it; a context.

    The system frees the lock however the process ends, and what it says is overwritten by the next one. Where a lock
    may not be seen (of another host, on file systems without locks), what the file says counts.

    Args:
        path: of the file, which exists while the lock is held; its folder must exist.
        refusal: ends the sentence "process P of host H (since T) …" for who comes second.
    """

    def __init__(self, path: str | Path, refusal: str):
        self.path, self.refusal = Path(path), refusal
        self._file: int | None = None

    def take(self) -> None:
        """Hold the lock, or a stale one's place.

        Raises:
            ConfigurationError: when another process holds it, naming that.
            OSError: when the file cannot be written.
        """
        while self._file is None:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                locked = self._lock(file)
                if self._is_at_path(file):  # else its holder removed it between the two
                    self._replace_holder(file, locked)
                    self._file, file = file, None
            finally:
                if file is not None:
                    os.close(file)
        _held.add(self)

    def release(self) -> None:
        """Let go, and remove the file; nothing happens unless the lock is held."""
        if self._file is None:
            return
        if self._is_at_path(self._file):
            self.path.unlink()
        self._forget()

    def __enter__(self) -> "Lock":
        self.take()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _lock(self, file: int) -> bool:
        """Whether the system locks files here; refuse where another process has locked this one."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._refuse(_read(file))
        except OSError:
            return False
        return True

    def _replace_holder(self, file: int, locked: bool) -> None:
        holder, own = _read(file), _describe()
        if holder:
            same_job = holder.get("job") and holder.get("job") == own["job"]  # started again on another host
            if holder.get("host") != own["host"] and not same_job or not locked and _runs(holder):
                self._refuse(holder, f"; if that process is gone, remove {self.path}")
            logger.info(f"{self.path} was left by {_name(holder)}, which has ended; it is taken over")
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(own).encode(), 0)

    def _refuse(self, holder: dict[str, Any] | None, remedy: str = "") -> None:
        raise ConfigurationError(f"{_name(holder)} {self.refusal}{remedy}.") from None

    def _is_at_path(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _forget(self) -> None:
        """Close the file; a fork's copy of it would hold the lock beyond the end of its process."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _describe() -> dict[str, Any]:
    process = os.getpid()
    since, job = time.strftime("%Y-%m-%d %H:%M:%S"), os.environ.get("SLURM_JOB_ID")
    return {"host": socket.gethostname(), "process": process, "since": since, "start": _start(process), "job": job}


def _read(file: int) -> dict[str, Any] | None:
    """What a lock's file says; None for an empty or damaged one."""
    try:
        found = json.loads(os.pread(file, 1000, 0))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _name(holder: dict[str, Any] | None) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('process')} of host {holder.get('host')} (since {holder.get('since')})"


def _runs(holder: dict[str, Any]) -> bool:
    """Whether a process of this host runs, and is not a later one of the same number."""
    try:
        os.kill(int(holder["process"]), 0)
    except PermissionError:
        pass
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return False
    return _start(holder["process"]) == holder.get("start")


def _start(process: int) -> int | None:
    """When a process began, in the system's clock ticks; None where the system does not say."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def _forget_all() -> None:
    for lock in list(_held):
        lock._forget()


os.register_at_fork(after_in_child=_forget_all)
