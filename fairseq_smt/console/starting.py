"""What is settled before a run's first update: its folders can be written, they are its own, and it has work left."""

import atexit
import logging
import os
import shutil
import tempfile
from typing import Any

from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils

from fairseq_smt.errors import ConfigurationError, require, unwritable
from fairseq_smt.locks import Lock
from fairseq_smt.replacing import replace

logger = logging.getLogger(__name__)

PROBE = 1 << 16
"""Bytes written to find out whether a disk is full."""

_lock: Lock | None = None


def check_folder(folder: str, what: str) -> None:
    """Create a folder, called `what` in sentences, and write a file there for a moment.

    Raises:
        ConfigurationError: when the system refuses.
    """
    require(os.path.isdir(folder) or not os.path.exists(folder), f"{what} is a file: name a folder.")
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(unwritable(what, error)) from error


def verify_checkpoint_directory(save_dir: str) -> None:
    """fairseq's function, which the first process calls before anything is built.

    Raises:
        ConfigurationError: for a folder that cannot be written.
    """
    check_folder(save_dir, f"--save-dir {save_dir}")


def claim(trainer: Any) -> None:
    """Make sure that a run can write what it is to write, and that its folder is no other run's.

    Raises:
        ConfigurationError: in every process of the run, when that is not so.
    """
    refusal = None
    if trainer.is_data_parallel_master:
        try:
            _claim(trainer)
        except ConfigurationError as error:
            refusal = str(error)
    if trainer.data_parallel_world_size > 1:
        group = trainer.data_parallel_process_group
        refusal = distributed_utils.broadcast_object(refusal, src_rank=0, group=group, dist_device=trainer.device)
    require(refusal is None, refusal)


def _claim(trainer: Any) -> None:
    logs, log_file = trainer.cfg.common.tensorboard_logdir, trainer.cfg.common.log_file
    if logs:
        check_folder(logs, f"--tensorboard-logdir {logs}")
    if log_file:
        check_folder(os.path.dirname(os.path.abspath(log_file)), f"the folder of --log-file {log_file}")
    if trainer.cfg.checkpoint.no_save:
        return
    folder = trainer.cfg.checkpoint.save_dir
    needed = sum(x.numel() * x.element_size() for x in trainer._model.parameters())  # `model` asks all processes
    free = shutil.disk_usage(folder).free
    require(
        free >= needed,
        f"the disk of --save-dir {folder} has {free / 1e6:.1f} MB left, a checkpoint takes {needed / 1e6:.1f} MB at "
        "least: free some space, or name another place.",
    )
    _take_lock(folder)


def _take_lock(folder: str) -> None:
    """Hold a folder until this process ends, or trains in another one."""
    global _lock
    _release_lock()
    _lock = Lock(
        os.path.join(folder, "run.lock"), f"trains in --save-dir {folder}: wait for it, or give another --save-dir"
    )
    try:
        _lock.take()
    except OSError as error:
        raise ConfigurationError(unwritable(f"--save-dir {folder}", error)) from error


@atexit.register
def _release_lock() -> None:
    if _lock is not None:
        _lock.release()


def stop_if_finished(trainer: Any, epochs: Any, extra_state: dict[str, Any]) -> None:
    """Let a command that has been run to its end do nothing; fairseq asks whether to stop only after an update.

    Args:
        epochs: fairseq's iterator over the training data, as far as the checkpoint had come.
        extra_state: what else the checkpoint held.
    """
    updates, limits = trainer.get_num_updates(), trainer.cfg.optimization
    if updates == 0:  # started from another run's
        return
    for done, limit, flag in (
        (updates, limits.max_update, "--max-update"),
        (epochs.next_epoch_idx - 1, limits.max_epoch, "--max-epoch"),
        (extra_state.get("previous_training_time", 0) / 3600, limits.stop_time_hours, "--stop-time-hours"),
    ):
        if 0 < limit <= done:
            logger.info(
                f"the run in {trainer.cfg.checkpoint.save_dir} is finished, at {done:g} of {flag} {limit:g}: nothing "
                f"is trained or written; to go on, raise {flag}"
            )
            limits.max_epoch = -1  # fairseq enters no epoch
            return


replace(checkpoint_utils, "verify_checkpoint_directory", verify_checkpoint_directory)
