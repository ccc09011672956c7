"""Files of a run that are whole or absent, and a sentence where they cannot be written.

fairseq writes `checkpoint_last.pt` as a copy over the old file; a run killed meanwhile would have lost both. It tries
three times to write a checkpoint for which there is no room, and leaves a part of it behind.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from fairseq.logging import progress_bar

from fairseq_smt.errors import ConfigurationError, unwritable
from fairseq_smt.files import whole_file
from fairseq_smt.replacing import replace

logger = logging.getLogger(__name__)

_logs = True


@contextmanager
def whole(path: str) -> Iterator[str]:
    """The name of a checkpoint's file to write, which takes the place of `path` as a whole.

    Raises:
        ConfigurationError: when the system refuses to write it.
    """
    try:
        with whole_file(path) as partial:
            yield partial
    except BaseException as error:
        refused = system_error(error)
        if refused is None:
            raise
        sentence = unwritable(f"the checkpoint {path}", refused)
        raise ConfigurationError(
            f"{sentence} Those before it are whole, and the same command goes on from them."
        ) from error


def system_error(error: BaseException | None) -> OSError | None:
    """What the system said, wherever it is in a chain of exceptions: torch hides it behind its own."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
    """`PathManager.copy`; a local destination is the old file or the new one, never a part of it."""
    if any(PathManager.path_requires_pathmanager(path) for path in (src_path, dst_path)):
        return _copy(src_path, dst_path, overwrite=overwrite)
    with whole(dst_path) as partial:
        shutil.copyfile(src_path, partial)
    return True


def save_whole(obj: Any, filename: str, async_write: bool = False) -> None:
    """`torch_persistent_save`; a local file is the old one or the new one, never a part of it."""
    if async_write or PathManager.path_requires_pathmanager(filename):
        return _save(obj, filename, async_write)
    with whole(filename) as partial, open(partial, "wb") as file:
        torch.save(obj, file)


def log_while_possible(bar: progress_bar.TensorboardProgressBarWrapper, *args: Any, **kwargs: Any) -> None:
    """Log to TensorBoard; a disk that fills up ends the logging, not the training."""
    global _logs
    if not _logs:
        return
    try:
        _log_to_tensorboard(bar, *args, **kwargs)
    except OSError as error:
        logger.warning(
            f"{unwritable(f'--tensorboard-logdir {bar.tensorboard_logdir}', error)} Training goes on without."
        )
        progress_bar._tensorboard_writers.clear()  # fairseq would close them at the end, and fail again
        _logs = False


_copy = replace(PathManager, "copy", copy_whole)
_save = replace(checkpoint_utils, "torch_persistent_save", save_whole)
_log_to_tensorboard = replace(progress_bar.TensorboardProgressBarWrapper, "_log_to_tensorboard", log_while_possible)
