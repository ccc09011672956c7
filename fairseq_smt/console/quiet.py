"""Messages of fairseq, hydra and torch that a user can do nothing about, each by its words and its place.

All of them are shown with `python -W …`, PYTHONWARNINGS or LOGLEVEL=DEBUG.
"""

import logging
import os
import re
import sys
import warnings

from fairseq import trainer
from torch import nn

from fairseq_smt.replacing import replace

WARNINGS = [
    (r"hydra\.experimental\.\w+\(\) is no longer experimental", r"hydra\.experimental\."),
    (r"\s*The version_base parameter is not specified", r"hydra\."),
    (r"In 'config': Usage of deprecated keyword in package header", r"hydra\.core\.default_element"),
    (r"\s*'\w+' is validated against ConfigStore schema with the same name", r"(sys|__main__)$"),
    (r"\s*The strict flag in the compose API is deprecated", r"hydra\.compose"),
    (r"'pin_memory' argument is set as true but no accelerator is found", r"torch\.utils\.data\.dataloader"),
    (r"`torch\.cuda\.amp\.\w+\(args\.\.\.\)` is deprecated", r"fairseq\."),
]
"""Beginnings of Python warnings, and of the names of the modules that they come from."""

DEBUG = os.environ.get("LOGLEVEL", "").upper() == "DEBUG"
"""What fairseq goes by in training. (Its other commands end up with a root logger that shows everything.)"""

RECORDS = {
    "fairseq.tasks.fairseq_task": r"(can_reuse_epoch_itr|reuse_dataloader|rebuild_batches) = |creating new batches for",
    "hydra.core.utils": r"Setting JobRuntime:",
    # the model's modules one by one: `summary.py` says what they are
    "fairseq_cli.train": r"SmtLanguageModel\(\n|num\. expert model params: 0 ",
}
"""Logger → beginnings of what it says of fairseq's inner workings."""


def is_of_use(record: logging.LogRecord) -> bool:
    """Whether a record is shown; under LOGLEVEL=DEBUG every one is."""
    return DEBUG or record.levelno > logging.INFO or not re.match(RECORDS[record.name], record.getMessage())


def shared_parameters(module: nn.Module, memo: dict | None = None, prefix: str = "") -> list[list[str]] | None:
    """fairseq's list of parameters that share a tensor; absent ones (`bias=None`) share nothing."""
    first = memo is None
    memo = {} if first else memo
    _shared_parameters(module, memo, prefix)
    return [names for tensor, names in memo.items() if tensor is not None and len(names) > 1] if first else None


_shared_parameters = replace(trainer, "_catalog_shared_params", shared_parameters)
for _name in RECORDS:
    logging.getLogger(_name).addFilter(is_of_use)
if not sys.warnoptions:
    for _message, _module in WARNINGS:
        warnings.filterwarnings("ignore", _message, module=_module)
