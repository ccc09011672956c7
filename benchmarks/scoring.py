"""Any checkpoint of fairseq's language models, scored in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from torch import Tensor

import fairseq_smt
from fairseq_smt.core.interface import Batch

fairseq_smt.register()


def accuracy_of(checkpoint: Path, split: str, overrides: dict[str, Any]) -> float:
    """The share of all that a split asks for that a model finds likeliest."""
    correct = asked = 0
    for batch, logits in logits_of(checkpoint, split, overrides):
        correct += int(((logits.argmax(-1) == batch.targets) & batch.asked).sum())
        asked += int(batch.asked.sum())
    return correct / asked


@torch.no_grad()
def logits_of(checkpoint: Path, split: str, overrides: dict[str, Any]) -> Iterator[tuple[Batch, Tensor]]:
    """The batches of a split and a model's logits (B, T, V); `overrides` changes its configuration."""
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], arg_overrides=overrides)
    model.eval()
    task.load_dataset(split)
    for sample in task.get_batch_iterator(task.dataset(split), max_sentences=128).next_epoch_itr(shuffle=False):
        yield task.batch_of(sample), model(**sample["net_input"])[0]
