"""Folders of data that are whole or absent, and never take the place of something else."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.data import pixels, vocabulary

DESCRIPTIONS = (vocabulary.DESCRIPTION, pixels.DESCRIPTION)
"""Every folder of a prepare command has one of these."""
WRITTEN = {*DESCRIPTIONS, vocabulary.MODEL, "dict.txt", "preprocess.log"}
WRITTEN |= {f"{split}.{suffix}" for split in ("train", "valid", "test") for suffix in ("bin", "idx")}
"""All that a prepare command has ever written."""


@contextmanager
def replaced_folder(destination: str) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `--destdir` at the end; after an error all is as it was.

    A link to a folder stays, and what it leads to is replaced. The parent of the new folder is for temporary files.

    Raises:
        ConfigurationError: when something else than data of a prepare command is there, or it cannot be written.
    """
    made = []
    try:
        with _told(destination):
            target = Path(destination).resolve()
            _check_replaceable(destination, target)
            missing = [folder for folder in target.parents if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir()
                made.append(folder)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".prepare") as work:
                folder = Path(work, "bin")
                folder.mkdir()
                yield folder
                _check_replaceable(destination, target)
                _swap(folder, target, Path(work, "old"))
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def _told(destination: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        if isinstance(error, RuntimeError) and "ymlink" not in str(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"--destdir {destination} cannot be written ({reason}): give a folder on a disk with space that is yours."
        ) from None


def _check_replaceable(destination: str, target: Path) -> None:
    """Raise unless the folder is absent, empty, or a prepare command's."""
    here = Path.cwd().resolve()
    require(
        target not in (here, *here.parents, Path(os.path.expanduser("~")).resolve()),
        f"--destdir {destination} is a folder that you work in or its parent: give a folder for the data alone.",
    )
    if not target.exists():
        return
    require(target.is_dir(), f"--destdir {destination} is a file: give a folder.")
    found = sorted(target.iterdir())
    foreign = [path.name for path in found if path.name not in WRITTEN or path.is_dir()]
    if not foreign and not any(path.name in DESCRIPTIONS for path in found):
        foreign = [path.name for path in found]
    require(
        not foreign,
        f"--destdir {destination} holds {', '.join(foreign[:1])}, which no prepare command wrote there, and would be "
        "replaced: give a folder of its own.",
    )


def _swap(folder: Path, target: Path, old: Path) -> None:
    if target.exists():
        os.rename(target, old)
    try:
        os.rename(folder, target)
    except OSError:
        if old.exists():
            os.rename(old, target)
        raise
