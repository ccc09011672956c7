"""Damaged, foreign and absent checkpoints end in a sentence that names the file, whichever command reads them.

fairseq looks its loading functions up in `checkpoint_utils` at every call; importing this module replaces them.
"""

import logging
import os
import re
import zipfile
from typing import Any

from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from fairseq.tasks import TASK_REGISTRY

from fairseq_smt.compat.resuming import bring_up_to_date
from fairseq_smt.compat.starting import claim, stop_if_finished
from fairseq_smt.errors import ConfigurationError, require

logger = logging.getLogger(__name__)

_to_cpu = checkpoint_utils.load_checkpoint_to_cpu
_into_trainer = checkpoint_utils.load_checkpoint
_ensemble_and_task = checkpoint_utils.load_model_ensemble_and_task

last_read: str | None = None
"""Path of the checkpoint that this process read last."""


def the_checkpoint() -> str:
    """How sentences call the checkpoint being loaded; processes that have it from another one do not know its name."""
    return f"the checkpoint {last_read}" if last_read else "the checkpoint"


def load_checkpoint_to_cpu(path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """fairseq's function, after a comparison of every byte with the file's checksums.

    Raises:
        ConfigurationError: for a file that is absent, damaged, or no checkpoint of fairseq.
    """
    global last_read
    if os.path.basename(path) == "checkpoint_last.pt":
        remedy = "remove it, or copy an earlier checkpoint of its folder over it"
    else:
        remedy = "name another one"
    try:
        if zipfile.is_zipfile(path):  # torch does not look at the checksums that it writes
            with zipfile.ZipFile(path) as file:
                require(file.testzip() is None, f"{path} is damaged: {remedy}.")
        state = _to_cpu(path, *args, **kwargs)
    except ConfigurationError:
        raise
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): {remedy}.") from error
    except Exception as error:
        unknown = re.search(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)", str(error))
        if unknown:
            raise ConfigurationError(
                f"{path} holds {unknown[1]}, which might run code when it is loaded: {remedy}."
            ) from error
        raise ConfigurationError(f"{path} is damaged, or no checkpoint of fairseq: {remedy}.") from error
    require(
        "model" in state and bool(state.get("cfg") or state.get("args")),
        f"{path} is no checkpoint of fairseq, it lacks the model or its configuration: {remedy}.",
    )
    bring_up_to_date(state)
    last_read = path
    return state


def load_checkpoint(cfg: Any, trainer: Any, **kwargs: Any) -> Any:
    """fairseq's function for training; a checkpoint to start from must be there, one to resume from need not.

    Raises:
        ConfigurationError: for a checkpoint that is absent, or whose criterion, optimizer or trained part is another;
            for a folder that cannot be written or is another run's.
    """
    claim(trainer)
    start, restore, suffix = cfg.finetune_from_model, cfg.restore_file, trainer.checkpoint_suffix
    require(
        start is None
        or PathManager.isfile(start)
        or PathManager.exists(os.path.join(cfg.save_dir, f"checkpoint_last{suffix}.pt")),
        f"--finetune-from-model {start} does not exist: name a checkpoint.",
    )
    require(
        os.path.basename(restore) == "checkpoint_last.pt" or PathManager.isfile(restore.replace(".pt", f"{suffix}.pt")),
        f"--restore-file {restore} does not exist: name a checkpoint, or leave the flag out to start anew.",
    )
    try:
        extra_state, epochs = _into_trainer(cfg, trainer, **kwargs)
    except (AssertionError, ValueError) as error:
        if "does not match; please reset" not in str(error) and "parameter group" not in str(error):
            raise
        raise ConfigurationError(
            f"{the_checkpoint()} was trained otherwise than this run would be ({error}): give every stage a --save-dir "
            "of its own, and start it from the one before by --finetune-from-model."
        ) from error
    if extra_state is not None:
        stop_if_finished(trainer, epochs, extra_state)
    return extra_state, epochs


def load_model_ensemble_and_task(*args: Any, **kwargs: Any) -> Any:
    """fairseq's function for scoring and generation; a warning tells that the command's task is not the checkpoint's.

    Raises:
        ConfigurationError: for a checkpoint that is absent.
    """
    try:
        models, cfg, task = _ensemble_and_task(*args, **kwargs)
    except OSError as error:
        if "Model file not found" not in str(error):
            raise
        raise ConfigurationError(f"{error}: name a checkpoint by --path.") from error
    warn_of_another_task(cfg.task, task)
    return models, cfg, task


def warn_of_another_task(trained: Any, here: Any) -> None:
    """Compare the config of training's task with a command's task; fairseq-eval-lm has one and blocks of its own."""
    if trained._name != "smt_lm" or isinstance(here, TASK_REGISTRY["smt_lm"]):
        return
    mode = getattr(trained.sample_break_mode, "value", trained.sample_break_mode)
    flags = f"--task smt_lm --tokens-per-sample {trained.tokens_per_sample} --sample-break-mode {mode}"
    flags += " --add-bos-token" * bool(trained.add_bos_token)
    logger.warning(
        f"{the_checkpoint()} was trained with --task smt_lm; the task of this command may cut the text into other "
        f"blocks, and says nothing of bits per byte: to score as in training, give {flags}"
    )


checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu
checkpoint_utils.load_checkpoint = load_checkpoint
checkpoint_utils.load_model_ensemble_and_task = load_model_ensemble_and_task
