"""The sequences of a probe as a dataset of fairseq's."""

from typing import Any

import numpy as np
from fairseq.data import Dictionary, FairseqDataset

from fairseq_smt.data.probes.probe import FIRST_IDS, Probe


def probe_dictionary(probe: Probe) -> Dictionary:
    """fairseq's special symbols followed by those of the probe."""
    dictionary = Dictionary()
    for symbol in probe.symbols:
        dictionary.add_symbol(symbol)
    return dictionary


def probe_sample(probe: Probe, dictionary: Dictionary, numbers: list[int], length: int | None = None) -> dict[str, Any]:
    """A mini-batch of sequences as fairseq's criterions want it, with pad as the target where nothing is asked.

    `numbers` are the ids, which stay on the host when the tensors move to a device.
    `ntokens`, by which losses are divided, counts the targets.
    """
    batch = probe.batch(numbers, length)
    tokens = batch.inputs + dictionary.nspecial
    target = (batch.targets + dictionary.nspecial).masked_fill(~batch.asked, dictionary.pad())
    return {
        "id": batch.ids,
        "numbers": numbers,
        "nsentences": len(numbers),
        "ntokens": int(batch.asked.sum()),
        "net_input": {"src_tokens": tokens, "src_lengths": batch.real.sum(1)},
        "target": target,
    }


class ProbeDataset(FairseqDataset):
    """`size` sequences of a probe. The training split has new ones in every epoch; the others never change.

    An item is the id of a sequence; `collater` generates a batch at once. Item i of epoch e (from 1) is the training
    sequence (e - 1) · size + i; the other splits count from far beyond.
    """

    def __init__(self, probe: Probe, dictionary: Dictionary, size: int, split: str):
        self.probe = probe
        self.dictionary = dictionary
        self.first = FIRST_IDS[split]
        self.fresh = split == "train"
        self.epoch = 1
        self.sizes = np.full(size, probe.length, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> int:
        passed = (self.epoch - 1) * len(self) if self.fresh else 0
        return self.first + passed + int(index)

    def collater(self, samples: list[int]) -> dict[str, Any]:
        return probe_sample(self.probe, self.dictionary, samples) if samples else {}

    def num_tokens(self, index: int) -> int:
        return self.probe.length

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return self.probe.length

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Not in training: a worker that lives on would not hear of the next epoch."""
        return not self.fresh
