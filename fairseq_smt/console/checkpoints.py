"""Checkpoints that a command cannot go on from, or reads otherwise than they were trained, as sentences."""

import logging
import os
from typing import Any

from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from fairseq.logging import metrics
from fairseq.tasks import TASK_REGISTRY

from fairseq_smt.compat.checkpoints import the_checkpoint
from fairseq_smt.console.starting import claim, stop_if_finished
from fairseq_smt.errors import ConfigurationError, require
from fairseq_smt.replacing import replace

logger = logging.getLogger(__name__)


def load_checkpoint(cfg: Any, trainer: Any, **kwargs: Any) -> Any:
    """fairseq's function for training; a checkpoint to start from must be there, one to resume from need not.

    Raises:
        ConfigurationError: for a checkpoint that is absent, or whose criterion, optimizer or trained part is another;
            for a folder that cannot be written or is another run's; for a model that the criterion cannot train, or a
            measure that validation lacks.
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
    fit = getattr(trainer.get_criterion(), "check_fit", None)
    if fit:
        fit(trainer.get_model())
    if cfg.best_checkpoint_metric != "loss" and not trainer.cfg.dataset.disable_validation:
        check_best_metric(cfg, trainer)
    return extra_state, epochs


def check_best_metric(cfg: Any, trainer: Any) -> None:
    """Validate on a few blocks, to learn which measures the run will log; fairseq looks after the first epoch.

    Raises:
        ConfigurationError: when --best-checkpoint-metric is none of them.
    """
    metric, dataset = cfg.best_checkpoint_metric, trainer.task.dataset(trainer.cfg.dataset.valid_subset.split(",")[0])
    with metrics.aggregate(new_root=True) as measured:
        trainer.valid_step(dataset.collater([dataset[i] for i in range(min(len(dataset), 8))]))
    names = sorted(measured.get_smoothed_values())
    require(
        metric in names,
        f"--best-checkpoint-metric {metric} is not measured in validation: give one of {', '.join(names)}.",
    )
    if metric.endswith("accuracy") and not cfg.maximize_best_checkpoint_metric:
        logger.warning(
            f"--best-checkpoint-metric {metric} keeps the checkpoint where it is lowest: add "
            "--maximize-best-checkpoint-metric to keep the best"
        )


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
        raise ConfigurationError(
            f"{error}: name a checkpoint by --path, or by the flag that names this one."
        ) from error
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


_into_trainer = replace(checkpoint_utils, "load_checkpoint", load_checkpoint)
_ensemble_and_task = replace(checkpoint_utils, "load_model_ensemble_and_task", load_model_ensemble_and_task)
