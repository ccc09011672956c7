"""Cells: the RNN's update f(m_t, x_{t+1}) → m_{t+1}.

A cell splits its work in two. `inputs(tokens)` computes everything about a token that does not depend on the memory,
once for a whole block; `forward(memory, inputs)` is one step for any number of rows. Every cell but `lstm` returns an
RMS-normalised memory, and all keep a path from the memory they were given. A cell takes what it uses of the sizes.

A cell may also have `run(memory, inputs)`, all steps of a block at once: `rollout.sequential` then calls it in full
precision. Its values and gradients are those of `forward` step by step; by hand, each weight's gradient is one matrix
product after the loop over time instead of one per step.
"""

from torch import nn

from fairseq_smt.core.cells.gru import GRUCell
from fairseq_smt.core.cells.lstm import LSTMCell
from fairseq_smt.core.cells.mlp import MLPCell
from fairseq_smt.core.cells.slots import SlotsCell
from fairseq_smt.core.cells.transformer import TransformerCell
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import require, require_positive

CELLS = {"mlp": MLPCell, "transformer": TransformerCell, "gru": GRUCell, "slots": SlotsCell, "lstm": LSTMCell}


def follows_labels(cell: nn.Module | type[nn.Module]) -> bool:
    """Whether a cell's memories can be labels, which is what SMT and DMT train it to; so unless the cell says no."""
    return getattr(cell, "follows_labels", True)


def build_cell(vocabulary: int, sizes: RnnConfig) -> nn.Module:
    """The cell called `sizes.cell`.

    Raises:
        ConfigurationError: for an unknown name or a size that cannot work.
    """
    require(sizes.cell in CELLS, f"--cell {sizes.cell} is unknown; choose one of {', '.join(CELLS)}.")
    positive = ("memory_tokens", "memory_width", "cell_hidden", "cell_layers")
    require_positive(**{name: getattr(sizes, name) for name in positive})
    return CELLS[sizes.cell](vocabulary, sizes)
