"""The files of one shard, and what is said when they cannot be written."""

import errno
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairseq_smt.errors import ConfigurationError


@dataclass(frozen=True)
class ShardFiles:
    """Paths `FOLDER/shard-I-of-N.*`.

    labels.npy   [positions, K·d], words of the dtype
    scales.npy   [positions], float32; int8 only
    index.npy    [blocks + 1], int64: positions of the shard before each block
    json         the manifest
    journal      a line "chunk checksum" per finished chunk, until all are
    lock         host and process that write, while they do
    """

    folder: Path
    shard: int
    shards: int

    def _path(self, suffix: str) -> Path:
        return self.folder / f"shard-{self.shard}-of-{self.shards}.{suffix}"

    labels = property(lambda self: self._path("labels.npy"))
    scales = property(lambda self: self._path("scales.npy"))
    index = property(lambda self: self._path("index.npy"))
    manifest = property(lambda self: self._path("json"))
    journal = property(lambda self: self._path("journal"))
    lock = property(lambda self: self._path("lock"))

    @staticmethod
    def found(folder: Path) -> list["ShardFiles"]:
        """Those shards in a folder that have a manifest, in order."""
        matches = [re.fullmatch(r"shard-(\d+)-of-(\d+)\.json", path.name) for path in folder.glob("shard-*.json")]
        return sorted(
            (ShardFiles(folder, int(m[1]), int(m[2])) for m in matches if m), key=lambda f: (f.shards, f.shard)
        )


def part_folder(root: str | Path, split: str, data: str) -> Path:
    """Where the labels of a split lie: the name holds the data's fingerprint, so that data shards `a:b` do not meet."""
    return Path(root) / f"{split}-{data[:12]}"


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The first bytes of a `.npy` file; the array follows."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Turn what the system says of a full disk or a folder that cannot be written into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ConfigurationError(
                f"the disk of {folder} is full: free some space and run the same command again; finished chunks are "
                "kept."
            ) from error
        raise ConfigurationError(
            f"{folder} cannot be written ({error.strerror}: {error.filename or folder}): name another folder by "
            "--label-cache, or change its permissions."
        ) from error
