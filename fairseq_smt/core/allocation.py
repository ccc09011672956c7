"""The memory of tensors on a CPU, which an update takes and frees by the megabyte."""

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt."""

KEPT = 1 << 30
"""Freed bytes at the heap's end that a process keeps."""

MAPPED = 1 << 25
"""Bytes from which a tensor gets pages of its own, which go back to the system with it; glibc allows no more."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to `KEPT`, for the tensors that follow.

    glibc hands it back to the system, which clears every page that it gives out again: up to a fifth of an update.

    Returns:
        whether the C library is one that can be told; others are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {TRIM_THRESHOLD: KEPT, TOP_PAD: MAPPED, MMAP_THRESHOLD: MAPPED}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])
