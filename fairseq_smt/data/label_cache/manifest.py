"""The manifest of a shard: what its labels are of, how they are stored, and the checksums of its chunks."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from fairseq_smt.errors import ConfigurationError, require
from fairseq_smt.files import write_whole

FORMAT, VERSION = "fairseq_smt label cache", 1

WORDS = {
    "teacher": "a teacher with fingerprint",
    "teacher_config": "a teacher configured as",
    "dictionary": "a dictionary with fingerprint",
    "data": "data with fingerprint",
    "data_full": "data (every byte of .bin) with fingerprint",
    "blocks": "a number of blocks of",
    "shards": "--num-shards",
}
"""How a difference is told; every other field is told by its flag."""


def hexadecimal(fingerprint: int) -> str:
    """A 63-bit fingerprint as the manifest holds it: numbers in JSON may lose digits above 2^53."""
    return f"{fingerprint:016x}"


@dataclass
class Manifest:
    """One shard: blocks [first_block, last_block) of a split, in chunks of `chunk_blocks` (the last may be shorter).

    Attributes:
        split: name of the split.
        teacher, teacher_config: fingerprint of the weights, and the flags that the labels depend on beside them.
        dictionary: its fingerprint.
        data, data_full: quick fingerprint of the split's files, and that of every byte.
        tokens_per_sample, sample_break_mode, add_bos_token, shorten_method: how blocks are cut.
        blocks: blocks of the split, all shards together.
        memory_tokens, memory_width: K and d.
        dtype: a name in `codec.STORED`.
        shard, shards: which of how many.
        positions: source positions of this shard.
        checksums: one per chunk, once all are done.
        complete: whether all chunks are done; until then the journal beside the manifest says which are.
    """

    split: str
    teacher: str
    teacher_config: dict[str, Any]
    dictionary: str
    data: str
    data_full: str
    tokens_per_sample: int
    sample_break_mode: str
    add_bos_token: bool
    shorten_method: str
    blocks: int
    memory_tokens: int
    memory_width: int
    dtype: str
    shard: int
    shards: int
    first_block: int
    last_block: int
    positions: int
    chunk_blocks: int
    checksums: list[str] = field(default_factory=list)
    complete: bool = False

    @property
    def width(self) -> int:
        """K·d."""
        return self.memory_tokens * self.memory_width

    @property
    def chunks(self) -> int:
        """Number of chunks; an empty shard has none."""
        return -(-(self.last_block - self.first_block) // self.chunk_blocks)

    def chunk(self, i: int) -> tuple[int, int]:
        """Blocks [first, last) of chunk i, counted from the beginning of the shard."""
        return i * self.chunk_blocks, min((i + 1) * self.chunk_blocks, self.last_block - self.first_block)

    def save(self, path: Path) -> None:
        """Write the JSON file atomically; equal manifests give equal files."""
        content = asdict(self)
        content = {"format": FORMAT, "version": VERSION, **content, "checksum": _checksum(content)}
        write_whole(path, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read what `save` wrote.

        Raises:
            ConfigurationError: when the file is damaged, or of another version.
        """
        try:
            content = json.loads(path.read_bytes())
            kind, version, checksum = (content.pop(name) for name in ("format", "version", "checksum"))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ConfigurationError(
                f"{path} is not a manifest of a label cache, or damaged: remove it and cache the shard again."
            ) from None
        require(
            kind == FORMAT and version == VERSION,
            f"{path} is of version {version} of the label cache, this program reads version {VERSION}: cache again.",
        )
        require(
            checksum == _checksum(content) and content.keys() == {f.name for f in fields(cls)},
            f"{path} does not match its own checksum: it was edited or damaged; remove it and cache the shard again.",
        )
        return cls(**content)

    def require_same(self, path: Path, here: dict[str, Any], remedy: str) -> None:
        """Raise `ConfigurationError` for the first field of `here` that the manifest (at `path`) has otherwise."""
        for name, value in here.items():
            there = getattr(self, name)
            if there == value:
                continue
            if isinstance(value, dict):  # name what differs
                names = sorted(k for k in value.keys() | there.keys() if value.get(k) != there.get(k))
                there, value = (", ".join(f"{k} {x.get(k)}" for k in names) for x in (there, value))
            words = WORDS.get(name, f"--{name.replace('_', '-')}")
            raise ConfigurationError(
                f"the labels in {path.parent} were made with {words} {there}, not {value}: {remedy}"
            )


def shard_blocks(blocks: int, shard: int, shards: int) -> tuple[int, int]:
    """Blocks [first, last) of a shard; shards differ by one block at most."""
    return blocks * shard // shards, blocks * (shard + 1) // shards


def blocks_per_chunk(offsets: np.ndarray, positions: int) -> int:
    """Blocks whose positions make about `positions`, at least one; offsets (blocks + 1,)."""
    return max(1, int(positions * (len(offsets) - 1) / max(1, int(offsets[-1] - offsets[0]))))


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest()
