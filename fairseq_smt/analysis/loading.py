"""Checkpoints of trained models, and evenly spaced blocks of a split to look at them with."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils, tasks, utils
from omegaconf import open_dict

from fairseq_smt.core.interface import Batch, Modules
from fairseq_smt.errors import require
from fairseq_smt.models.smt_lm import SmtLanguageModel


@dataclass
class Checkpoint:
    """A checkpoint of model `smt_lm`, its model in float32 and for evaluation, with its task on the data at hand."""

    name: str
    path: str
    cfg: Any
    model: SmtLanguageModel
    task: Any
    device: torch.device

    @property
    def modules(self) -> Modules:
        return modules_of(self.model)

    @property
    def length(self) -> int:
        """--tokens-per-sample of its training, unless another one was given."""
        return int(self.cfg.task.tokens_per_sample)

    @property
    def is_probe(self) -> bool:
        """Whether its task generates sequences of any length, and has no data."""
        return self.cfg.task._name == "smt_probe"

    def at_initialisation(self) -> SmtLanguageModel:
        """The model as training began with it: built anew from the checkpoint's config and seed."""
        with torch.random.fork_rng():
            utils.set_torch_seed(self.cfg.common.seed)
            model = self.task.build_model(self.cfg.model)
        return prepare(model, self.device)

    def task_at(self, length: int) -> Any:
        """Its task with blocks or sequences of `length` tokens.

        Raises:
            ConfigurationError: for a length that the task refuses.
        """
        cfg = copy.deepcopy(self.cfg.task)
        with open_dict(cfg):
            cfg.tokens_per_sample, cfg.curriculum_start = length, 0
        return tasks.setup_task(cfg, from_checkpoint=True)

    def batches(self, split: str, length: int, sequences: int, batch_size: int) -> Iterator[Batch]:
        """Blocks spread evenly over a split, no longer than `length` tokens (and bos): the same at every call."""
        task = self.task_at(length)
        task.load_dataset(split)
        dataset = task.datasets[split]
        require(len(dataset) > 0, f"split {split!r} of {self.cfg.task.get('data')} is empty: name another one.")
        number = min(sequences, len(dataset))
        chosen = [i * len(dataset) // number for i in range(number)]
        longest = length + bool(self.cfg.task.get("add_bos_token"))
        for first in range(0, number, batch_size):
            sample = dataset.collater([dataset[i] for i in chosen[first : first + batch_size]])
            if sample["net_input"]["src_tokens"].shape[1] > longest:
                sample = task.truncate(sample, longest)
            yield task.batch_of(utils.apply_to_sample(lambda x: x.to(self.device), sample))


def modules_of(model: SmtLanguageModel) -> Modules:
    """What the core works on."""
    return Modules(model.rnn, model.teacher, model.future)


def prepare(model: SmtLanguageModel, device: torch.device) -> SmtLanguageModel:
    """A model as it is looked at: float32, evaluation mode, no gradients of weights."""
    return model.float().eval().requires_grad_(False).to(device)


def load(path: str, name: str, data: str | None, overrides: dict[str, Any], cpu: bool = False) -> Checkpoint:
    """Load one checkpoint of model `smt_lm`.

    Args:
        data: DATA; None for probes.
        overrides: fields of the checkpoint's config.
        cpu: do not use CUDA.

    Raises:
        ConfigurationError: for what is no such checkpoint, or not one that fits DATA.
    """
    require(Path(path).is_file(), f"the checkpoint {path} does not exist: name one by --path, after DATA.")
    state = read(path, data, overrides)
    cfg = state["cfg"]
    require(
        of_this_model(cfg),
        f"{path} is not a checkpoint of model smt_lm: name another one by --path.",
    )
    require(
        bool(data) or cfg.task._name == "smt_probe",
        f"{path} was trained on data of its own: give DATA, the folder written by fairseq-preprocess.",
    )
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task([path], state=state)
    device = choose_device(cpu)
    return Checkpoint(name, path, cfg, prepare(models[0], device), task, device)


def read(path: str, data: str | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's contents; its config has DATA, fresh blocks, no labels, the RNN's scores, and `overrides`."""
    fixed = {"data": data, "label_cache": "", "score_with": "rnn", "carry_memory": False}
    return checkpoint_utils.load_checkpoint_to_cpu(path, fixed | overrides)


def last_validation(state: dict[str, Any]) -> dict[str, float]:
    """Means over the last validation before a checkpoint, by the names in the log; drifts over the label variance."""
    logged = ((state.get("extra_state") or {}).get("metrics") or {}).get("valid") or []
    means = {key: float(meter["sum"] / meter["count"]) for _, key, _, meter in logged if meter.get("count")}
    variance = max(means.get("label_variance", 0.0), 1e-12)
    return {key.removeprefix("_"): mean / variance if key.startswith("_") else mean for key, mean in means.items()}


def of_this_model(cfg: Any) -> bool:
    """Whether a checkpoint's config is one of model `smt_lm`."""
    return cfg is not None and "memory_head" in cfg.model


def choose_device(cpu: bool) -> torch.device:
    """CUDA where there is some, unless --cpu was given."""
    return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
