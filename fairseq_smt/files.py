"""Files and folders that are whole or absent: filled under another name, and put in their place when they are."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fairseq_smt.errors import ConfigurationError, unwritable


@contextmanager
def whole_file(path: str | Path) -> Iterator[str]:
    """The name of a file to write, which takes the place of `path` once it is on the disk, or is removed.

    Who reads `path` sees the old file or the new one, after a crash, too. One process at a time may write it.
    """
    partial = f"{path}.tmp"
    try:
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.remove(partial)
        raise
    with suppress(OSError):  # the file is whole without; not every file system can do this to a folder
        _to_disk(os.path.dirname(path) or ".")


def write_whole(path: str | Path, content: bytes) -> None:
    """Replace a file by this content."""
    with whole_file(path) as partial:
        Path(partial).write_bytes(content)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `target` at the end; after an error all is as it was.

    Absent folders above `target` are made. The parent of the new folder is for temporary files.
    """
    made = []
    try:
        for folder in reversed([folder for folder in target.parents if not folder.exists()]):
            folder.mkdir()
            made.append(folder)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".prepare") as work:
            folder = Path(work, "bin")
            folder.mkdir()
            yield folder
            _swap(folder, target, Path(work, "old"))
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise


def _swap(folder: Path, target: Path, old: Path) -> None:
    if target.exists():
        os.rename(target, old)
    try:
        os.rename(folder, target)
    except OSError:
        if old.exists():
            os.rename(old, target)
        raise


def _to_disk(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE)
"""What the system says against a write, without a name of the file."""


def _is_of(folder: Path, error: OSError) -> bool:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    inside = (Path(os.path.abspath(name)).is_relative_to(folder) for name in names)
    return any(inside) if names else error.errno in WRITING


@contextmanager
def told(what: str, within: Path | None = None) -> Iterator[None]:
    """Turn what the system says against writing `what` into a sentence.

    Args:
        within: a folder, where the block does more than write there: errors that name another place pass on, and those
            that name none, unless they are of a write.

    Raises:
        ConfigurationError: for an `OSError`.
    """
    try:
        yield
    except OSError as error:
        if within and not _is_of(within, error):
            raise
        raise ConfigurationError(unwritable(what, error)) from error
