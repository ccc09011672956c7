"""What a run trains, on what and where it saves, in a few lines at its start."""

import logging
import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from fairseq.trainer import Trainer
from torch import nn

from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig
from fairseq_smt.replacing import replace
from fairseq_smt.tasks.scheduled import ScheduledTask

logger = logging.getLogger(__name__)


def count(module: nn.Module | None) -> int:
    """Parameters of a module."""
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def is_trained(module: nn.Module | None) -> bool:
    """Whether any parameter of a module is trained."""
    return module is not None and any(p.requires_grad for p in module.parameters())


def changed(config: type, given: Any) -> list[str]:
    """The flags of a config whose values are not its defaults; DATA and what comes from other parts aside."""
    found = []
    for f in fields(config):
        value = str(getattr(given, f.name, f.default))
        if f.name not in ("_name", "data") and not str(f.default).startswith("${") and value != str(f.default):
            flag = f.metadata.get("argparse_alias", "--" + f.name.replace("_", "-"))
            found.append(flag if value == "True" else f"{flag} {value}")
    return found


def name_of(part: Any) -> str | None:
    """The registered name of a part of fairseq's config, which may lack it."""
    return getattr(part, "_name", part)


def absolute(path: str) -> str:
    """A path that holds after hydra has changed the folder; addresses stay as they are."""
    return path if "://" in path else os.path.abspath(path)


def lines(cfg: Any, task: Any, model: SmtLanguageModel) -> Iterator[str]:
    """What a run trains, on what, how, and where it saves.

    Args:
        cfg: fairseq's config of training.
        task: the task, for its dictionary.
        model: the model to be trained.
    """
    parts = {"teacher": model.teacher, "future predictor": model.future, "RNN": model.rnn}
    trained = [name for name, module in parts.items() if is_trained(module)]
    start = cfg.checkpoint.finetune_from_model
    yield f"criterion {name_of(cfg.criterion)} trains: {', '.join(trained)}" + (f"; from {start}" if start else "")
    sizes = ", ".join(f"{name} {count(module):,}" for name, module in parts.items() if module is not None)
    memory = f"{cfg.model.memory_tokens} × {cfg.model.memory_width}"
    yield f"parameters: {sizes}; memory {memory}, cell {cfg.model.cell}, memory head {cfg.model.memory_head}"
    data = f"probe {cfg.task.probe}" if cfg.task._name == "smt_probe" else f"{cfg.task.data}"
    bos = " after a bos" if cfg.task.add_bos_token else ""
    limits = {"blocks": cfg.dataset.batch_size, "tokens": cfg.dataset.max_tokens}
    batch = " and ".join(f"{limit} {what}" for what, limit in limits.items() if limit)
    block = f"blocks of {cfg.task.tokens_per_sample}{bos}"
    yield f"data: {data}, {len(task.source_dictionary)} types, {block}, at most {batch} per batch"
    weights = [f"{f.removesuffix('_weight')} {cfg.criterion[f]}" for f in cfg.criterion if f.endswith("_weight")]
    if weights:
        yield f"weights of the losses: {', '.join(weights)}"
    updates = f"--max-update {cfg.optimization.max_update or 'none'}"
    rate = ", ".join(map(str, cfg.optimization.lr))
    yield f"optimizer {name_of(cfg.optimizer)}, learning rate {rate} ({name_of(cfg.lr_scheduler)}), {updates}"
    configs = {
        "model": SmtLanguageModelConfig,
        "criterion": REGISTRIES["criterion"]["dataclass_registry"].get(name_of(cfg.criterion)),
        "task": TASK_DATACLASS_REGISTRY[cfg.task._name],
    }
    flags = [flag for part, config in configs.items() if config for flag in changed(config, cfg[part])]
    yield f"model, criterion and task differ from the defaults in: {', '.join(flags) or 'nothing'}"
    saved = "nowhere (--no-save)" if cfg.checkpoint.no_save else absolute(cfg.checkpoint.save_dir)
    board = cfg.common.tensorboard_logdir
    yield f"checkpoints: {saved}; TensorBoard: {absolute(board) if board else 'none (--tensorboard-logdir)'}"


def build(trainer: Trainer, cfg: Any, task: Any, model: Any, *args: Any, **kwargs: Any) -> None:
    """`Trainer.__init__`, which logs the lines for our models and tasks."""
    _build(trainer, cfg, task, model, *args, **kwargs)
    if isinstance(model, SmtLanguageModel) and isinstance(task, ScheduledTask):
        for line in lines(trainer.cfg, task, model):
            logger.info(line)


_build = replace(Trainer, "__init__", build)
