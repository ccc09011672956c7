"""Writes one shard chunk by chunk, so that a killed run goes on where it was.

A chunk's labels go to their place in the file and to the disk; only then a line in the journal says that it is done.
Files are written, not mapped: a full disk then is an error that can be told, and memory stays that of a batch.
"""

import hashlib
import io
import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from fairseq_smt.data.label_cache import codec
from fairseq_smt.data.label_cache.files import ShardFiles, npy_header, written
from fairseq_smt.data.label_cache.manifest import Manifest
from fairseq_smt.errors import require
from fairseq_smt.files import write_whole
from fairseq_smt.locks import Lock

COMPARED = ("split", "teacher", "teacher_config", "dictionary", "data", "data_full", "tokens_per_sample")
COMPARED += ("sample_break_mode", "add_bos_token", "shorten_method", "blocks", "memory_tokens", "memory_width", "dtype")


def new_checksum():
    """64 bits tell a damaged chunk; nobody is expected to forge one."""
    return hashlib.blake2b(digest_size=8)


class ShardWriter:
    """A context that holds the shard's lock.

    Args:
        folder: the split's folder (`files.part_folder`).
        manifest: what is to be written; where the shard has been begun, its own chunk length is kept.
        offsets: positions of the shard before each of its blocks, and all of them, (blocks + 1,), int64.

    Raises:
        ConfigurationError: when another process writes the shard, when the folder holds labels of something else, when
            a file is damaged, or when the disk is full or cannot be written.
    """

    def __init__(self, folder: Path, manifest: Manifest, offsets: np.ndarray):
        self.files = ShardFiles(folder, manifest.shard, manifest.shards)
        self.manifest = manifest
        self.offsets = offsets
        self.done: dict[int, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "ShardWriter":
        with written(self.files.folder), ExitStack() as stack:
            self.files.folder.mkdir(parents=True, exist_ok=True)
            for other in ShardFiles.found(self.files.folder):
                require(
                    other.shards == self.files.shards,
                    f"{self.files.folder} holds shards of --num-shards {other.shards}, not {self.files.shards}: give "
                    "that number, or remove the folder.",
                )
            refusal = f"is writing this shard ({self.files.lock}): wait for it, or give another --shard-id"
            stack.enter_context(Lock(self.files.lock, refusal))
            if self.files.manifest.exists():
                self._resume()
            else:
                self._begin()
            if not self.manifest.complete:
                # unbuffered: nothing is left to be flushed, and to fail again, after an error
                self._arrays = [stack.enter_context(open(path, "r+b", buffering=0)) for path, _, _ in self.arrays]
                self._journal = stack.enter_context(open(self.files.journal, "ab", buffering=0))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> bool | None:
        return self._stack.__exit__(*error)

    @property
    def arrays(self) -> list[tuple[Path, tuple[int, ...], str]]:
        """Path, shape and words of the shard's arrays of labels."""
        return label_arrays(self.files, self.manifest)

    def pending(self) -> list[int]:
        """Chunks that are still to be written."""
        return [] if self.manifest.complete else [i for i in range(self.manifest.chunks) if i not in self.done]

    def write(self, chunk: int, parts: Iterable[np.ndarray]) -> None:
        """Write a chunk, given as consecutive rows (n, K·d) float32, and note that it is done."""
        first, last = (int(self.offsets[block]) for block in self.manifest.chunk(chunk))
        checksum, scales, row = new_checksum(), [], first
        for file, (_, shape, dtype) in zip(self._arrays, self.arrays, strict=True):
            file.seek(_start(shape, dtype, first))
        for part in parts:
            contents = [x.tobytes() for x in codec.encode(part, self.manifest.dtype) if x is not None]
            with written(self.files.folder):
                for file, content in zip(self._arrays, contents, strict=True):
                    _write_all(file, content)
            checksum.update(contents[0])
            scales += contents[1:]
            row += len(part)
        if row != last:
            raise ValueError(f"chunk {chunk} has {last - first} positions, got {row - first}")
        for content in scales:
            checksum.update(content)
        with written(self.files.folder):
            for file in self._arrays:
                _to_disk(file)
            self.done[chunk] = checksum.hexdigest()
            _write_all(self._journal, f"{chunk} {self.done[chunk]}\n".encode())
            _to_disk(self._journal)

    def finish(self) -> None:
        """Note in the manifest that every chunk is done."""
        with written(self.files.folder):
            if not self.manifest.complete:
                self.manifest.checksums = [self.done[i] for i in range(self.manifest.chunks)]
                self.manifest.complete = True
                self.manifest.save(self.files.manifest)
            self.files.journal.unlink(missing_ok=True)

    def _begin(self) -> None:
        """Create all files, the manifest last: without it the next run begins anew."""
        for path, shape, dtype in self.arrays:
            with open(path, "wb") as file:
                file.write(npy_header(shape, dtype))
                file.truncate(_start(shape, dtype, shape[0]))
                _to_disk(file)
        write_whole(self.files.index, index_file(self.offsets))
        write_whole(self.files.journal, b"")
        self.manifest.save(self.files.manifest)

    def _resume(self) -> None:
        """Take over what is there, once it has turned out to be the same."""
        found = Manifest.load(self.files.manifest)
        here = {name: getattr(self.manifest, name) for name in COMPARED}
        found.require_same(
            self.files.manifest, here, f"name another --label-cache, or remove {self.files.folder} to cache anew."
        )
        self.manifest = found
        check_files(self.files, found, self.offsets)
        if found.complete:
            return
        text = self.files.journal.read_bytes() if self.files.journal.exists() else b""
        whole = re.match(rb"(\d+ [0-9a-f]{16}\n)*", text)[0]  # a line cut short by a crash does not count
        if whole != text or not self.files.journal.exists():
            write_whole(self.files.journal, whole)
        self.done = {int(chunk): checksum for chunk, checksum in (x.split() for x in whole.decode().splitlines())}


def label_arrays(files: ShardFiles, manifest: Manifest) -> list[tuple[Path, tuple[int, ...], str]]:
    """Path, shape and words of a shard's arrays: the labels, and with int8 their scales."""
    arrays = [(files.labels, (manifest.positions, manifest.width), codec.STORED[manifest.dtype])]
    if manifest.dtype == "int8":
        arrays.append((files.scales, (manifest.positions,), codec.SCALE))
    return arrays


def check_files(files: ShardFiles, manifest: Manifest, offsets: np.ndarray) -> None:
    """Compare what is quickly compared: the arrays' lengths and headers, and the block index.

    Args:
        offsets: positions before each block of the shard, from anywhere, (blocks + 1,).

    Raises:
        ConfigurationError: naming the file that differs.
    """
    remedy = f"remove {files.manifest} and cache the shard again."
    for path, shape, dtype in label_arrays(files, manifest):
        expected = _start(shape, dtype, shape[0])
        size = path.stat().st_size if path.exists() else 0
        require(size == expected, f"{path} has {size} bytes instead of {expected}, it is truncated: {remedy}")
        header = npy_header(shape, dtype)
        with open(path, "rb") as file:
            require(file.read(len(header)) == header, f"{path} has a damaged header: {remedy}")
    found = files.index.read_bytes() if files.index.exists() else b""
    require(found == index_file(offsets), f"{files.index} is not the block index of this data: {remedy}")


def index_file(offsets: np.ndarray) -> bytes:
    """The block index as a `.npy` file, counted from the shard's first position."""
    index = (offsets - offsets[0]).astype("<i8")
    return npy_header(index.shape, "<i8") + index.tobytes()


def _start(shape: tuple[int, ...], dtype: str, row: int) -> int:
    """Byte of an array's file at which a row begins."""
    return len(npy_header(shape, dtype)) + row * int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize


def _write_all(file: io.RawIOBase, content: bytes) -> None:
    """Write to an unbuffered file, which may take less than it is given: up to 2 GiB, or what is left of the disk."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _to_disk(file) -> None:
    file.flush()
    os.fsync(file.fileno())
