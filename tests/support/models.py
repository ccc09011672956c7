"""A small model through the adapter, and fairseq's average of several."""

import fairseq  # noqa: F401
import torch

import fairseq_smt
from fairseq_smt.data.probe_dataset import probe_dictionary
from fairseq_smt.data.probes import PROBES

fairseq_smt.register()


def build(head: str = "projection", train: str = "all"):
    from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig

    sizes = dict(memory_tokens=2, memory_width=8, cell_hidden=8, trunk_width=16, trunk_layers=1, future_width=8)
    config = SmtLanguageModelConfig(memory_head=head, train_part=train, **sizes)
    return SmtLanguageModel(config, probe_dictionary(PROBES["retrieval"](8)))


def averaged(states: list[dict]) -> dict:
    """What fairseq's average_checkpoints.py makes of some models' tensors."""
    average = {}
    for name, first in states[0].items():
        total = first.float() if first.dtype == torch.float16 else first.clone()
        for state in states[1:]:
            total += state[name]
        average[name] = total / len(states) if total.is_floating_point() else total // len(states)
    return average
