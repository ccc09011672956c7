"""Labels as numbers on disk: rows of float32 to stored words, and back."""

import numpy as np

from fairseq_smt.errors import require

STORED = {"float16": "<f2", "float32": "<f4", "bfloat16": "<u2", "int8": "|i1"}
"""Name of a dtype → the words that its file holds. bfloat16, which numpy lacks, is the upper half of a float32."""

SCALE = "<f4"
"""int8 has one scale per position, in a file of its own."""


def check_dtype(dtype: str) -> None:
    """Raises `ConfigurationError` for a dtype that there is not."""
    require(dtype in STORED, f"--dtype {dtype} is unknown; choose one of {', '.join(STORED)}.")


def position_bytes(dtype: str, width: int) -> int:
    """Bytes of one position of `width` = K·d numbers, its scale included."""
    return np.dtype(STORED[dtype]).itemsize * width + (np.dtype(SCALE).itemsize if dtype == "int8" else 0)


def encode(rows: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 rows (N, K·d) → words (N, K·d), and scales (N,) for int8; every dtype rounds to nearest."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if dtype == "bfloat16":
        bits = rows.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(STORED[dtype]), None
    if dtype == "int8":
        scales = np.abs(rows).max(axis=1, initial=0) / 127
        words = np.rint(rows / np.maximum(scales, np.finfo(np.float32).tiny)[:, None])
        return words.astype(STORED[dtype]), scales.astype(SCALE)
    return rows.astype(STORED[dtype]), None


def decoded_type(dtype: str) -> np.dtype:
    """What `decode` returns: float16 as it is, so that half as much goes from workers to the device, else float32."""
    return np.dtype(np.float16 if dtype == "float16" else np.float32)


def decode(words: np.ndarray, scales: np.ndarray | None, dtype: str) -> np.ndarray:
    """Stored words (N, K·d) and scales (N,) → rows (N, K·d) of `decoded_type`."""
    if dtype == "bfloat16":
        return (words.astype(np.uint32) << 16).view(np.float32)
    if dtype == "int8":
        return words.astype(np.float32) * scales[:, None]
    return words
