"""Cached labels joined to the samples of fairseq's language-modelling datasets."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset, MonolingualDataset

from fairseq_smt.data.label_cache.fingerprint import data_files, quick_fingerprint
from fairseq_smt.data.label_cache.manifest import hexadecimal
from fairseq_smt.data.label_cache.reader import LabelCache
from fairseq_smt.errors import require


class LabelledDataset(BaseWrapperDataset):
    """A dataset whose batches hold `labels`, (B, T, K, d), zero at padding.

    They are read as a batch is put together, in the data worker where there is one, by the ids of its samples.
    """

    def __init__(self, dataset: MonolingualDataset, cache: LabelCache):
        super().__init__(dataset)
        self.cache = cache

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().collater(samples)
        if batch:
            rows, length = batch["net_input"]["src_tokens"].shape
            labels = self.cache.collate([int(sample["id"]) for sample in samples], length, rows)
            batch["labels"] = torch.from_numpy(labels)
        return batch


def block_offsets(dataset: MonolingualDataset) -> np.ndarray:
    """Source positions before each block, and all of them: (blocks + 1,), int64. A bos makes a block one longer."""
    slices = np.asarray(dataset.dataset.slice_indices, dtype=np.int64)
    lengths = slices[:, 1] - slices[:, 0] + int(dataset.add_bos_token)
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))


def identity(
    cfg: Any, dictionary: int, dataset: MonolingualDataset, split: str, prefixes: list[Path]
) -> dict[str, Any]:
    """What labels depend on beside the teacher, by the manifest's fields.

    Args:
        cfg: the task's configuration.
        dictionary: its fingerprint.
        prefixes: the split's files (`fingerprint.data_files`).

    Raises:
        ConfigurationError: for blocks that are cut otherwise in every epoch.
    """
    method = str(getattr(cfg.shorten_method, "value", cfg.shorten_method))
    listed = cfg.shorten_data_split_list
    method = method if not listed or split in listed.split(",") else "none"
    require(
        method != "random_crop",
        "labels cannot be cached for blocks that are cropped at random: replace --shorten-method random_crop by "
        "truncate or none.",
    )
    return {
        "split": split,
        "dictionary": hexadecimal(dictionary),
        "data": quick_fingerprint(prefixes),
        "tokens_per_sample": int(cfg.tokens_per_sample),
        "sample_break_mode": str(getattr(cfg.sample_break_mode, "value", cfg.sample_break_mode) or "none"),
        "add_bos_token": bool(cfg.add_bos_token),
        "shorten_method": method,
        "blocks": len(dataset),
    }


def with_labels(
    root: str, dataset: MonolingualDataset, cfg: Any, dictionary: int, folder: str, split: str, combine: bool
) -> LabelledDataset:
    """Join the labels under `root` to a split of the data in `folder`.

    Raises:
        ConfigurationError: when the cache has no labels for exactly these blocks.
    """
    here = identity(cfg, dictionary, dataset, split, data_files(folder, split, combine))
    return LabelledDataset(dataset, LabelCache(root, here, block_offsets(dataset)))
