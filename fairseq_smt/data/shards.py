"""DATA of several folders, `a:b:c`, which training reads one epoch each: they must have one vocabulary."""

import logging
import os
from pathlib import Path

from fairseq.data import Dictionary

from fairseq_smt.data import vocabulary
from fairseq_smt.data.pixels import DESCRIPTION, PixelFormat
from fairseq_smt.errors import require

logger = logging.getLogger(__name__)


def check_alike(folders: list[str]) -> None:
    """Compare every folder with the first one, whose dictionary is used for all.

    A folder without dict.txt is taken at its word, with a warning.

    Raises:
        ConfigurationError: naming a folder that is absent, or has another dictionary, vocabulary or kind of images.
    """
    first = Path(folders[0])
    for folder in map(Path, folders[1:]):
        require(folder.is_dir(), f"DATA names the folder {folder}, which does not exist: leave it out, or make it.")
        if not (folder / "dict.txt").is_file():
            logger.warning(f"{folder} has no dict.txt, its symbols are taken to be numbered as in {first}")
            continue
        for what, load in (("dictionary", symbols), ("vocabulary", kind_and_model), ("kind of images", pixels)):
            here, there = load(folder), load(first)
            require(
                here == there or None in (here, there),
                f"{folder} has another {what} than {first}, so that its numbers stand for other symbols: make both by "
                "one call, or with one dictionary (fairseq-preprocess --srcdict).",
            )


def symbols(folder: Path) -> list[str]:
    """In the order of their numbers."""
    return Dictionary.load(os.fspath(folder / "dict.txt")).symbols


def kind_and_model(folder: Path) -> tuple[str, bytes] | None:
    """The kind of a vocabulary, and its sentencepiece model; None where there is no description."""
    found = vocabulary.load(folder)
    return found and (found.kind, getattr(found, "model", b""))


def pixels(folder: Path) -> PixelFormat | None:
    """None where there are no images."""
    return PixelFormat.load(folder) if (folder / DESCRIPTION).is_file() else None
