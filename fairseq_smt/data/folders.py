"""Folders of data that are whole or absent, and never take the place of something else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairseq_smt.core.errors import require
from fairseq_smt.data import pixels, vocabulary
from fairseq_smt.files import told, whole_folder

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
    target = Path(os.path.realpath(destination))
    with told(f"--destdir {destination}"):
        _check_replaceable(destination, target)
        with whole_folder(target) as folder:
            yield folder
            _check_replaceable(destination, target)  # something may have appeared meanwhile


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
