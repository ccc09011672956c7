"""Sizes of the RNN, the teacher and the future predictor: name, default and help of each, said once.

The names are those of the flags; the defaults are those of `smt_lm_small`.
"""

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

Config = TypeVar("Config")


def flag_of(f: Any) -> str:
    """The flag, as a name, that sets a field of a dataclass: its own name unless the field's metadata says another."""
    return f.metadata.get("flag", f.name)


def from_flags(config: type[Config], flags: Any) -> Config:
    """A dataclass of the core from an object that holds flags, choices as plain strings.

    A field whose flag is absent keeps its default.
    """
    given = [(f, getattr(flags, flag_of(f))) for f in fields(config) if hasattr(flags, flag_of(f))]
    return config(**{f.name: str(value) if f.type is str else value for f, value in given})


@dataclass
class RnnConfig:
    """The memory, the cell and the readout."""

    memory_tokens: int = field(default=4, metadata={"help": "K, memory tokens"})
    memory_width: int = field(default=64, metadata={"help": "d, width of a memory token; the memory holds K·d numbers"})
    cell: str = field(default="gru", metadata={"help": "the RNN's update f(m, x); lstm (K·d / 2 units): for baselines"})
    cell_hidden: int = field(
        default=256, metadata={"help": "hidden width of the mlp cell, width of the embedding of gru and lstm"}
    )
    cell_layers: int = field(default=2, metadata={"help": "layers of the transformer cell"})
    cell_heads: int = field(default=4, metadata={"help": "attention heads of the transformer cell"})
    readout_hidden: int = field(default=0, metadata={"help": "hidden width of the readout g(m); 0: linear"})


@dataclass
class TeacherConfig:
    """The memory head and the trunk, or the window encoder."""

    memory_head: str = field(
        default="projection",
        metadata={
            "help": "how the teacher makes memories: by a projection of its trunk's states; by registers that join the "
            "trunk's last layers; by a gated scan over its trunk's states, which leaves alone what it does not write; "
            "by an encoder over one window per memory (the paper's); none: the RNN alone"
        },
    )
    trunk_width: int = field(default=64, metadata={"help": "D, width of the teacher's trunk or window encoder"})
    trunk_layers: int = field(default=1, metadata={"help": "layers of the trunk or window encoder"})
    trunk_heads: int = field(default=4, metadata={"help": "attention heads of the trunk or window encoder"})
    trunk_convolution: int = field(
        default=4, metadata={"help": "taps of the causal convolution in every layer of the trunk; 0: none"}
    )
    register_layers: int = field(
        default=1, metadata={"help": "last layers of the trunk that the registers join, with --memory-head registers"}
    )
    teacher_window: int = field(
        default=128, metadata={"help": "tokens that one memory is made from, with --memory-head window"}
    )


@dataclass
class FutureConfig:
    """The future predictor."""

    future: str = field(
        default="window", metadata={"help": "future predictor: the targets right after t, or drawn from all after t"}
    )
    futures: int = field(
        default=16,
        metadata={"help": "targets predicted per memory; 0 with --future window: all to the end of the block"},
    )
    future_width: int = field(default=64, metadata={"help": "width of the future predictor"})
    future_layers: int = field(default=1, metadata={"help": "layers of the window predictor"})
    future_heads: int = field(default=4, metadata={"help": "attention heads of the window predictor"})
