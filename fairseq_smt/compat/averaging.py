"""`--store-ema` for models with integer buffers, and for runs that start from a checkpoint without an average."""

from types import SimpleNamespace

import fairseq.models.ema
import torch
from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from fairseq_smt.compat.checkpoints import load_checkpoint_to_cpu
from fairseq_smt.replacing import original, replace


class ExactAverage(original(fairseq.models.ema, "EMA")):
    """fairseq's `EMA`, which copies integer buffers (vocabulary, fingerprint) instead of averaging them."""

    def __init__(self, model, config, device=None, skip_keys=None):
        integers = {name for name, value in model.state_dict().items() if not torch.is_floating_point(value)}
        super().__init__(model, config, device, integers | (skip_keys or set()))

    def _step_internal(self, new_model, updates=None):
        tensors = getattr(new_model, "tensors", new_model.state_dict)
        super()._step_internal(SimpleNamespace(state_dict=tensors), updates)


def load_with_average(*args, **kwargs) -> dict:
    """`load_checkpoint_to_cpu`; the average of a checkpoint that has none is its model."""
    state = load_checkpoint_to_cpu(*args, **kwargs)
    state["extra_state"].setdefault("ema", state["model"])
    return state


def load_checkpoint(trainer: Trainer, *args, **kwargs):
    """`Trainer.load_checkpoint`, which for a checkpoint without an average asks for a model it has let go of."""
    if trainer.cfg.ema.store_ema:
        checkpoint_utils.load_checkpoint_to_cpu = load_with_average
    try:
        return _load_checkpoint(trainer, *args, **kwargs)
    finally:
        checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu


_load_checkpoint = replace(Trainer, "load_checkpoint", load_checkpoint)
replace(fairseq.models.ema, "EMA", ExactAverage)
