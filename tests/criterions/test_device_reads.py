"""An update of ours waits for the device once: to read what it logs.

On a CPU no read costs anything, so that they are counted where torch dispatches them. What is drawn on the host, and
only there, does not count.
"""

from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary
from torch.utils._python_dispatch import TorchDispatchMode

import fairseq_smt

fairseq_smt.register()
from fairseq_smt.core.random import Draws  # noqa: E402
from fairseq_smt.criterions.chunked_bptt import ChunkedBpttCriterion, ChunkedBpttCriterionConfig  # noqa: E402
from fairseq_smt.criterions.dmt import DmtCriterion, DmtCriterionConfig  # noqa: E402
from fairseq_smt.criterions.smt import SmtCriterion, SmtCriterionConfig  # noqa: E402
from fairseq_smt.models.presets import PRESETS  # noqa: E402
from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig  # noqa: E402
from fairseq_smt.tasks import smt_probe  # noqa: E402
from fairseq_smt.tasks.smt_lm import (  # noqa: E402
    BosAwareDataset,
    SmtLanguageModelingConfig,
    SmtLanguageModelingTask,
)

aten = torch.ops.aten
READS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2, aten.unique_dim}
"""Operators that need a number on the host, as a value or as the size of what they return."""

LENGTH = 16


class Reads(TorchDispatchMode):
    """Counts them; Python's own ways to a number all end in one of `READS`, except `tolist`."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.found, self.host = [], False
        tolist = torch.Tensor.tolist
        monkeypatch.setattr(torch.Tensor, "tolist", lambda x: (self.note("tolist"), tolist(x))[1])

    def note(self, name: str) -> None:
        if not self.host:
            self.found.append(name)

    def on_the_host(self, function):
        """The function, whose tensors never see a device."""

        def quiet(*args, **kwargs):
            self.host = True
            try:
                return function(*args, **kwargs)
            finally:
                self.host = False

        return quiet

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        operator = function.overloadpacket
        masks = args[1] if operator is aten.index else ()
        if operator in READS or any(mask is not None and mask.dtype == torch.bool for mask in masks):
            self.note(str(function))
        return function(*args, **(kwargs or {}))


def text_task(start: int):
    """Task smt_lm without data, and a batch of blocks of unequal length."""
    dictionary = Dictionary()
    for i in range(30):
        dictionary.add_symbol(f"s{i}")
    config = SmtLanguageModelingConfig(
        data=None, tokens_per_sample=LENGTH, max_update=100, curriculum_start=start, curriculum_updates=50
    )
    task = SmtLanguageModelingTask(config, dictionary, dictionary, ["future"])
    blocks = [torch.arange(n + 1) % 30 + dictionary.nspecial for n in (16, 16, 9, 3)]
    items = [{"id": i, "source": block[:-1], "target": block[1:]} for i, block in enumerate(blocks)]
    dataset = BosAwareDataset.__new__(BosAwareDataset)
    dataset.__dict__ |= dict(vocab=dictionary, fixed_pad_length=None, pad_to_bsz=None)
    return task, dataset.collater(items)


def probe_task(start: int):
    config = smt_probe.SmtProbeConfig(
        tokens_per_sample=LENGTH, max_update=100, curriculum_start=start, curriculum_updates=50, probe="stack"
    )
    task = smt_probe.SmtProbeTask(config)
    task.load_dataset("train")
    return task, task.datasets["train"].collater([0, 1, 2, 3])


RUN = dict(tokens_per_sample=LENGTH, seed=1)
CRITERIONS = {
    "smt": (SmtCriterion, SmtCriterionConfig(**RUN, max_update=100)),
    "smt, waiting": (SmtCriterion, SmtCriterionConfig(**RUN, max_update=100, dynamics_wait_below=3, pursuit_weight=1)),
    "dmt": (DmtCriterion, DmtCriterionConfig(**RUN, chunk=4, drift_backprop=1)),
    "dmt, adaptive": (DmtCriterion, DmtCriterionConfig(**RUN, chunk=4, chunk_lengths="adaptive")),
    "dmt, jacobi": (DmtCriterion, DmtCriterionConfig(**RUN, chunk=2, rollout="jacobi")),
    "chunked_bptt": (ChunkedBpttCriterion, ChunkedBpttCriterionConfig(**RUN, chunk=4)),
}


CASES = [(task, name, "projection") for task in (text_task, probe_task) for name in CRITERIONS]
CASES += [(text_task, "smt", head) for head in ("scan", "window")]


@pytest.mark.parametrize("start", [0, 5], ids=["whole", "curriculum"])
@pytest.mark.parametrize("make_task, name, head", CASES)
def test_an_update_reads_from_the_device_once(monkeypatch, make_task, name, head, start):
    kind, config = CRITERIONS[name]
    task, sample = make_task(start)
    sizes = PRESETS["smt_lm_tiny"] | dict(memory_head=head, futures=2)
    model = SmtLanguageModel(SmtLanguageModelConfig(**sizes), task.source_dictionary)
    criterion = kind(config, task)
    criterion.checked = True  # that the model fits
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward())
    reads = Reads(monkeypatch)
    monkeypatch.setattr(Draws, "shared", reads.on_the_host(Draws.shared))
    monkeypatch.setattr(smt_probe, "probe_sample", reads.on_the_host(smt_probe.probe_sample))
    for update in (0, 1):  # effective rank and shuffled memories are measured at 0
        reads.found.clear()
        with reads:
            logs = [task.train_step(sample, model, criterion, optimizer, update)[2] for _ in range(2)]
            task.reduce_metrics(logs, criterion)
        assert task.block_length == (start or LENGTH)
        assert reads.found == ["tolist"]
