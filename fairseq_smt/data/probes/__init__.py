"""The probes of memory by name. A new one is a file here and an entry of the list; its fields become flags."""

from fairseq_smt.data.probes.arithmetic import Arithmetic
from fairseq_smt.data.probes.keys_values import KeysValues
from fairseq_smt.data.probes.parity import Parity
from fairseq_smt.data.probes.probe import SPLITS, Draw, Probe, Sequences
from fairseq_smt.data.probes.retrieval import Retrieval
from fairseq_smt.data.probes.stack import Stack
from fairseq_smt.data.probes.string_copy import StringCopy

__all__ = ["PROBES", "SPLITS", "Draw", "Probe", "Sequences"]

PROBES: dict[str, type[Probe]] = {
    kind.name: kind for kind in (Retrieval, StringCopy, Stack, KeysValues, Arithmetic, Parity)
}
