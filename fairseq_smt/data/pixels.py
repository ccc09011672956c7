"""Images as sequences of grey levels: IDX files, pooling, levels, and what a data folder says of its images.

An image of H × W pixels is H·W symbols, row by row from the top left, each the name of its grey level, `0` (black) to
`levels - 1` (white). Nothing here imports fairseq.
"""

import gzip
import json
import math
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fairseq_smt.core.errors import ConfigurationError, require

DESCRIPTION = "pixels.json"
GZIP = b"\x1f\x8b"
UNSIGNED_BYTES, IMAGES = 8, 3


@dataclass(frozen=True)
class PixelFormat:
    """Height and width of the images of a data folder, and the number of their grey levels."""

    height: int
    width: int
    levels: int

    @property
    def pixels(self) -> int:
        """H·W, symbols per image."""
        return self.height * self.width

    def symbols(self) -> list[str]:
        """Names of the grey levels, black first."""
        return [str(level) for level in range(self.levels)]

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
            return cls(**{name: int(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()})
        except (ValueError, TypeError, AttributeError):
            raise ConfigurationError(
                f"{path} is damaged: make the data anew with fairseq-smt-prepare-pixels."
            ) from None


def read_idx(path: str | Path) -> np.ndarray:
    """Images of an IDX file, the format of MNIST, plain or gzipped: (N, H, W) uint8.

    Raises:
        ConfigurationError: when the file is absent, is no such file, holds something else than images of bytes, or is
            shorter or longer than it says.
    """
    again = "fetch it again, or name another file."
    try:
        content = Path(path).read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ConfigurationError(f"{path} is a damaged or truncated gzip file: {again}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): name an IDX file of images.") from None
    require(len(content) >= 4 and content[:2] == b"\0\0", f"{path} is not an IDX file: it does not begin like one.")
    kind, dimensions = content[2], content[3]
    require(
        kind == UNSIGNED_BYTES and dimensions == IMAGES,
        f"{path} holds {'labels' if dimensions == 1 else 'no images of bytes'}: name a file of images, like MNIST's "
        "train-images-idx3-ubyte.gz.",
    )
    start = 4 + 4 * IMAGES
    require(len(content) >= start, f"{path} is truncated in its header: {again}")
    shape = tuple(np.frombuffer(content, ">u4", IMAGES, offset=4).tolist())
    expected, found = math.prod(shape), len(content) - start
    size, amount = " × ".join(map(str, shape)), "truncated" if found < expected else "longer than that"
    require(found == expected, f"{path} says it has {size} pixels and is {amount} ({found}): {again}")
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
