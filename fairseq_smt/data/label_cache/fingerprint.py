"""Fingerprints of binarised data: a quick one for every run, and one of every byte."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fairseq_smt.errors import require

SAMPLES, SAMPLE_BYTES = 64, 4096
PIECE = 1 << 20


def data_files(folder: str | Path, split: str, combine: bool) -> list[Path]:
    """Prefixes of the split's `.idx` and `.bin`; with `combine` also train1, train2, …, which fairseq then appends.

    Raises:
        ConfigurationError: when the split is not there in binarised form.
    """
    names = [split]
    while combine and (Path(folder) / f"{split}{len(names)}.idx").is_file():
        names.append(f"{split}{len(names)}")
    prefixes = [Path(folder) / name for name in names]
    for prefix in prefixes:
        for suffix in (".idx", ".bin"):
            file = Path(f"{prefix}{suffix}")
            require(
                file.is_file(), f"{file} does not exist: labels are cached for data binarised by fairseq-preprocess."
            )
    return prefixes


def quick_fingerprint(prefixes: list[Path]) -> str:
    """128 bits of the `.idx` files, and of the sizes and evenly spaced pieces of the `.bin` files, as hex."""
    digest = hashlib.blake2b(digest_size=16)
    for prefix in prefixes:
        for piece in _pieces(Path(f"{prefix}.idx")):
            digest.update(piece)
        with open(f"{prefix}.bin", "rb") as file:
            size = file.seek(0, 2)
            digest.update(size.to_bytes(8, "big"))
            for i in range(SAMPLES):
                file.seek(max(0, size - SAMPLE_BYTES) * i // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def full_fingerprint(prefixes: list[Path]) -> str:
    """128 bits of every byte of the `.bin` files, as hex."""
    digest = hashlib.blake2b(digest_size=16)
    for prefix in prefixes:
        for piece in _pieces(Path(f"{prefix}.bin")):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            yield piece
