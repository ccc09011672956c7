"""Reads the labels of one split: all its shards, memory-mapped, opened when the first label is asked for."""

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fairseq_smt.data.label_cache import codec
from fairseq_smt.data.label_cache.files import ShardFiles, npy_header, part_folder
from fairseq_smt.data.label_cache.manifest import Manifest
from fairseq_smt.data.label_cache.writer import check_files, label_arrays, new_checksum
from fairseq_smt.errors import ConfigurationError, require

KEPT_BYTES = 32 << 20
"""Mapped pages are given back after so many bytes read: they would count as the process's memory."""

REMEDY = "train with the flags, data and checkpoint that the cache was made with, or make another cache."


class LabelCache:
    """Labels of every source position of a split.

    Args:
        root: the folder given by `--label-cache`.
        here: what must be as in the manifests, by their fields; `split` and `data` find the folder.
        offsets: positions of the split before each block, and all of them, (blocks + 1,).

    Attributes:
        teacher: fingerprint of the teacher, as in checkpoints.
        memory_tokens, memory_width: K and d.

    Raises:
        ConfigurationError: for labels of something else, and for a shard that is absent, unfinished or damaged.
    """

    def __init__(self, root: str | Path, here: dict[str, Any], offsets: np.ndarray):
        self.folder = find_part(root, here["split"], here["data"])
        self.files = ShardFiles.found(self.folder)
        self.manifests = load_manifests(self.files)
        for files, manifest in zip(self.files, self.manifests, strict=True):
            manifest.require_same(files.manifest, here, REMEDY)
            check_files(files, manifest, offsets[manifest.first_block : manifest.last_block + 1])
        first = self.manifests[0]
        for files, manifest in zip(self.files, self.manifests, strict=True):
            same = ("teacher", "teacher_config", "memory_tokens", "memory_width", "dtype")
            manifest.require_same(files.manifest, {n: getattr(first, n) for n in same}, "cache all shards alike.")
        self.teacher = int(first.teacher, 16)
        self.memory_tokens, self.memory_width, self.dtype = first.memory_tokens, first.memory_width, first.dtype
        self._offsets = offsets
        self._firsts = np.array([m.first_block for m in self.manifests])
        self._maps: list[list[tuple[mmap.mmap, np.ndarray]]] | None = None
        self._read = 0

    def __getstate__(self) -> dict[str, Any]:
        """Every process maps the files itself."""
        return self.__dict__ | {"_maps": None, "_read": 0}

    def rows(self, block: int) -> np.ndarray:
        """The labels of a block, (positions, K·d), of `codec.decoded_type`; maybe a view of the file."""
        self._give_back()
        shard = int(np.searchsorted(self._firsts, block, side="right")) - 1
        start = self._offsets[self._firsts[shard]]
        rows = slice(int(self._offsets[block] - start), int(self._offsets[block + 1] - start))
        if self._maps is None:
            self._maps = [_map(f, m) for f, m in zip(self.files, self.manifests, strict=True)]
        words, *scales = (array[rows] for _, array in self._maps[shard])
        self._read += words.nbytes
        return codec.decode(words, scales[0] if scales else None, self.dtype)

    def _give_back(self) -> None:
        """Unmap what has been read, once that is much; the system keeps it cached as it sees fit."""
        if self._read > KEPT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._read = 0
            for pages, _ in (pair for shard in self._maps for pair in shard):
                pages.madvise(mmap.MADV_DONTNEED)

    def collate(self, blocks: list[int], length: int, rows: int | None = None) -> np.ndarray:
        """The labels of blocks side by side, zero behind their ends: (rows, length, K, d)."""
        shape = (rows or len(blocks), length, self.memory_tokens * self.memory_width)
        batch = np.zeros(shape, dtype=codec.decoded_type(self.dtype))
        for row, block in enumerate(blocks):
            labels = self.rows(block)
            batch[row, : len(labels)] = labels
        return batch.reshape(*shape[:2], self.memory_tokens, self.memory_width)

    def verify(self, progress: Callable[[int], None] = lambda positions: None) -> None:
        """Compare every chunk with its checksum.

        Args:
            progress: told the positions of every chunk that has been compared.

        Raises:
            ConfigurationError: naming the first chunk that differs.
        """
        for files, manifest in zip(self.files, self.manifests, strict=True):
            start = self._offsets[manifest.first_block]
            for i, expected in enumerate(manifest.checksums):
                blocks = [manifest.first_block + b for b in manifest.chunk(i)]
                rows = [int(self._offsets[b] - start) for b in blocks]
                require(
                    _checksum(files, manifest, *rows) == expected,
                    f"chunk {i} of {files.labels} (blocks {blocks[0]} to {blocks[1] - 1}) differs from its checksum, "
                    f"the file is damaged: remove {files.manifest} and cache the shard again.",
                )
                progress(rows[1] - rows[0])


def find_part(root: str | Path, split: str, data: str) -> Path:
    """The folder of a split of some data.

    Raises:
        ConfigurationError: when it is not there, saying what is.
    """
    require(Path(root).is_dir(), f"the label cache {root} does not exist: make it with fairseq-smt-cache-labels.")
    folder = part_folder(root, split, data)
    others = sorted(path.name for path in Path(root).glob(f"{split}-*") if ShardFiles.found(path))
    if not ShardFiles.found(folder) and others:
        raise ConfigurationError(
            f"the label cache {root} holds labels of split {split} for other data ({', '.join(others)}), not for this "
            f"DATA ({folder.name}): give the DATA it was made from, or run fairseq-smt-cache-labels on this one."
        )
    require(
        bool(ShardFiles.found(folder)),
        f"the label cache {root} holds no labels of split {split}: run fairseq-smt-cache-labels with --splits {split} "
        "(training without validation: --disable-validation).",
    )
    return folder


def load_manifests(found: list[ShardFiles]) -> list[Manifest]:
    """The manifests of all shards of a folder, in order.

    Raises:
        ConfigurationError: when one is absent or unfinished.
    """
    folder, shards = found[0].folder, found[0].shards
    numbers = sorted({files.shards for files in found})
    require(
        len(numbers) == 1,
        f"{folder} holds shards of --num-shards {' and '.join(map(str, numbers))}: remove the files of all but one.",
    )
    for shard in range(shards):
        again = f"run fairseq-smt-cache-labels with --num-shards {shards} --shard-id {shard}."
        require(any(f.shard == shard for f in found), f"shard {shard} of {shards} is missing in {folder}: {again}")
    manifests = [Manifest.load(files.manifest) for files in found]
    for files, manifest in zip(found, manifests, strict=True):
        again = f"run fairseq-smt-cache-labels again with --num-shards {shards} --shard-id {files.shard}."
        require(manifest.complete, f"shard {files.shard} of {shards} in {folder} is not finished: {again}")
    return manifests


def _map(files: ShardFiles, manifest: Manifest) -> list[tuple[mmap.mmap, np.ndarray]]:
    """The shard's arrays, read-only; none for a shard without positions."""
    maps = []
    for path, shape, dtype in label_arrays(files, manifest) if manifest.positions else []:
        with open(path, "rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        count, start = int(np.prod(shape, dtype=np.int64)), len(npy_header(shape, dtype))
        maps.append((pages, np.frombuffer(pages, dtype, count, start).reshape(shape)))
    return maps


def _checksum(files: ShardFiles, manifest: Manifest, first: int, last: int) -> str:
    """The checksum of rows [first, last): of the labels, then of the scales."""
    digest = new_checksum()
    for path, shape, dtype in label_arrays(files, manifest):
        row = int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize
        with open(path, "rb") as file:
            file.seek(len(npy_header(shape, dtype)) + first * row)
            left = (last - first) * row
            while left > 0 and (piece := file.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
    return digest.hexdigest()
