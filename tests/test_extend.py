"""The examples of docs/how-to/extend.md train and ask."""

import re

import pytest
import torch

from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.heads import CAUSAL_HEADS
from fairseq_smt.core.objectives import SupervisedMemoryTraining
from fairseq_smt.data.probes import PROBES
from tests.support.commands import ROOT
from tests.support.toy import gradient_size, make_batch, make_modules

PAGE = (ROOT / "docs/how-to/extend.md").read_text()


def example(heading: str) -> str:
    """The code under a heading of the page."""
    return re.search(r"^```python\n(.*?)^```", PAGE[PAGE.index(f"## {heading}") :], re.DOTALL | re.MULTILINE)[1]


@pytest.fixture(autouse=True)
def lists():
    """The lists are afterwards what they were."""
    before = [(entries, dict(entries)) for entries in (CELLS, CAUSAL_HEADS, PROBES)]
    yield
    for entries, kept in before:
        entries.clear()
        entries.update(kept)


def test_a_cell_and_a_memory_head_train():
    for heading in ("A cell", "A memory head"):
        exec(example(heading), {"__name__": __name__})
    modules = make_modules(cell="leaky", head="mean")
    SupervisedMemoryTraining()(modules, make_batch()).loss.backward()
    assert gradient_size(modules.rnn.cell) > 0 and gradient_size(modules.teacher.head) > 0


def test_a_probe_asks():
    exec(example("A probe"), {"__name__": __name__})
    batch = PROBES["majority"](9).batch([0, 1, 2])
    assert torch.equal(batch.targets[:, -1], (batch.inputs.sum(1) > 4).long()) and batch.asked.all()
