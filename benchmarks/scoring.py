"""Any checkpoint of fairseq's language models, scored in this process."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from runs import ROOT
from torch import Tensor

sys.path.insert(0, str(ROOT))

import fairseq_smt  # noqa: F401


@torch.no_grad()
def logits_of(checkpoint: Path, split: str, overrides: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """The samples of a split and a model's logits (B, T, V); `overrides` changes its configuration."""
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], arg_overrides=overrides)
    model.eval()
    task.load_dataset(split)
    for sample in task.get_batch_iterator(task.dataset(split), max_sentences=128).next_epoch_itr(shuffle=False):
        yield sample, model(**sample["net_input"])[0]
