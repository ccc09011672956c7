"""Images as sequences of grey levels: IDX files, pooling, levels, and what a data folder says of its images.

An image of H × W pixels is H·W symbols, row by row from the top left or in one permuted order. Each is the name of its
grey level, `0` (black) to `levels - 1` (white). The class of the image may follow as a symbol of its own. Nothing here
imports fairseq.
"""

import gzip
import json
import math
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.data.text import check_decompressed

DESCRIPTION = "pixels.json"
GZIP = b"\x1f\x8b"
UNSIGNED_BYTES = 8
KINDS = {1: "labels", 3: "images"}
"""What MNIST's IDX files of bytes hold, by the number of their dimensions."""


@dataclass(frozen=True)
class PixelFormat:
    """What the items of a data folder are.

    Attributes:
        height, width: of the images.
        levels: grey levels.
        classes: how many, one of which follows the pixels of every image; 0: none does.
        permutation: seed of the order of the pixels, the same in all images; None: row by row.
    """

    height: int
    width: int
    levels: int
    classes: int = 0
    permutation: int | None = None

    @property
    def pixels(self) -> int:
        """H·W."""
        return self.height * self.width

    @property
    def length(self) -> int:
        """Symbols per image, its class included."""
        return self.pixels + bool(self.classes)

    def symbols(self) -> list[str]:
        """Names of the grey levels, black first, and of the classes."""
        return [str(level) for level in range(self.levels)] + [f"class-{i}" for i in range(self.classes)]

    def order(self) -> np.ndarray:
        """Where in the image, counted row by row, the pixels of a sequence stand: (H·W,).

        numpy keeps this old generator as it is for good, so that the seed is all there is to remember.

        Raises:
            ConfigurationError: for a seed that is none.
        """
        if self.permutation is None:
            return np.arange(self.pixels)
        require(0 <= self.permutation < 1 << 32, f"--permute must be 0 to 2^32 - 1, not {self.permutation}.")
        return np.random.RandomState(self.permutation).permutation(self.pixels)

    def items(self, levels: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Images as places in `symbols`: levels (N, H, W) and, if there are classes, labels (N,) → (N, length)."""
        pixels = levels.reshape(len(levels), -1)[:, self.order()]
        return pixels if labels is None else np.column_stack((pixels, self.levels + labels.astype(np.int64)))

    def save(self, folder: Path) -> None:
        """Write the folder's description."""
        (folder / DESCRIPTION).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PixelFormat":
        """Read a folder's description.

        Raises:
            ConfigurationError: when there is none, or a damaged one.
        """
        path = folder / DESCRIPTION
        require(path.is_file(), f"{path} does not exist: DATA must be a folder written by fairseq-smt-prepare-pixels.")
        try:
            found = json.loads(path.read_text(encoding="utf-8")).items()
            return cls(**{name: None if value is None else int(value) for name, value in found})
        except (ValueError, TypeError, AttributeError):
            raise ConfigurationError(
                f"{path} is damaged: make the data anew with fairseq-smt-prepare-pixels."
            ) from None


def read_idx(path: str | Path, what: str = "images") -> np.ndarray:
    """What an IDX file holds, the format of MNIST, plain or gzipped: images (N, H, W) or labels (N,), uint8.

    Raises:
        ConfigurationError: when the file is absent, is no such file, holds something else, or is shorter or longer than
            it says.
    """
    again = "fetch it again, or name another file."
    try:
        content = Path(path).read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ConfigurationError(f"{path} is a damaged or truncated gzip file: {again}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): name an IDX file of {what}.") from None
    check_decompressed(str(path), content)
    require(len(content) >= 4 and content[:2] == b"\0\0", f"{path} is not an IDX file: it does not begin like one.")
    kind, dimensions = content[2], content[3]
    holds = KINDS.get(dimensions) if kind == UNSIGNED_BYTES else None
    example = {"images": "train-images-idx3-ubyte.gz", "labels": "train-labels-idx1-ubyte.gz"}[what]
    require(
        holds == what,
        f"{path} holds {holds or f'no {what} of bytes'}: name a file of {what}, like MNIST's {example}.",
    )
    start = 4 + 4 * dimensions
    require(len(content) >= start, f"{path} is truncated in its header: {again}")
    shape = tuple(np.frombuffer(content, ">u4", dimensions, offset=4).tolist())
    expected, found = math.prod(shape), len(content) - start
    size, amount = " × ".join(map(str, shape)), "truncated" if found < expected else "longer than that"
    unit = "pixels" if what == "images" else what
    require(found == expected, f"{path} says it has {size} {unit} and is {amount} ({found}): {again}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def pool(images: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of `factor` × `factor` pixels: (N, H, W) → (N, H / factor, W / factor) float.

    Raises:
        ConfigurationError: when the factor does not divide height and width.
    """
    number, height, width = images.shape
    require(
        factor > 0 and height % factor == 0 and width % factor == 0,
        f"--downsample {factor} does not fit: it must divide the images' {height} × {width} pixels.",
    )
    squares = images.reshape(number, height // factor, factor, width // factor, factor)
    return squares.mean(axis=(2, 4), dtype=np.float64)


def quantise(images: np.ndarray, white: float, levels: int) -> np.ndarray:
    """The nearest of `levels` evenly spaced greys from 0 to `white`: (...) → (...) int64 in [0, levels).

    Raises:
        ConfigurationError: for a number of levels that is not 2 to 256.
    """
    require(2 <= levels <= 256, f"--levels must be 2 to 256, not {levels}.")
    return np.floor(images / white * (levels - 1) + 0.5).astype(np.int64).clip(0, levels - 1)
