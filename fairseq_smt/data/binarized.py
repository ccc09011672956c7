"""Whether binarised data is whole: fairseq maps the files as they are, and notices damage late or never."""

import glob
import os
import struct
from itertools import count

import numpy as np
from fairseq.data.indexed_dataset import _code_to_dtype, dataset_exists

from fairseq_smt.errors import ConfigurationError, require

MAGIC, HEADER = b"MMIDIDX\x00\x00", struct.Struct("<9sQBQ")
OTHER_FORMATS = (b"TNTIDX\x00\x00", b"HUFFIDX\x00")


def check_exists(folder: str, split: str, implementation: str | None) -> None:
    """Whether a folder has a split.

    Raises:
        ConfigurationError: when it has not, or under a name that fairseq writes and does not read.
    """
    prefix = os.path.join(folder, split)
    implementation = getattr(implementation, "value", implementation)
    if not dataset_exists(prefix, implementation):
        of = f" of --dataset-impl {implementation}" if implementation else ""
        found = sorted(glob.glob(f"{glob.escape(prefix)}.*None"))  # by fairseq-preprocess --dataset-impl raw
        require(not found, f"{''.join(found[:1])} has a name that fairseq does not read: rename it to {prefix}.")
        raise ConfigurationError(
            f"{folder} has no split {split!r}{of}: binarise it with fairseq-preprocess, or name another one by "
            "--train-subset, --valid-subset or --gen-subset."
        )


def check_binarized(folder: str, split: str, combine: bool) -> None:
    """Compare `.idx` and `.bin` of a split, and with `combine` of split1, split2, …; other formats are not looked at.

    Raises:
        ConfigurationError: naming the file that is damaged.
    """
    for number in count():
        prefix = os.path.join(folder, f"{split}{number or ''}")
        if os.path.isfile(f"{prefix}.idx") and os.path.isfile(f"{prefix}.bin"):
            _check(prefix)
        elif number:
            return
        if not combine:
            return


def _check(prefix: str) -> None:
    index, text = f"{prefix}.idx", f"{prefix}.bin"
    again = "make the data anew by fairseq-preprocess or fairseq-smt-prepare-text."
    size = os.path.getsize(text)
    with open(index, "rb") as file:
        head = file.read(HEADER.size)
        if head.startswith(OTHER_FORMATS):
            return
        damaged = f"{index} is damaged: {again}"
        require(len(head) == HEADER.size, damaged)
        magic, version, code, sequences = HEADER.unpack(head)
        require(magic == MAGIC and version == 1 and code in _code_to_dtype, damaged)
        require(os.path.getsize(index) == HEADER.size + sequences * 12, damaged)
        lengths = np.fromfile(file, "<i4", sequences).astype(np.int64)
        starts = np.fromfile(file, "<i8", sequences)
    ends = np.cumsum(lengths) * np.dtype(_code_to_dtype[code]).itemsize
    require(not (lengths < 0).any() and np.array_equal(starts[1:], ends[:-1]) and not starts[:1].any(), damaged)
    expected = int(ends[-1]) if sequences else 0
    require(expected > 0, f"{index} lists no text: {again}")
    require(size == expected, f"{text} has {size} bytes instead of the {expected} that {index} lists: {again}")
