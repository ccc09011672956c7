"""The files of an exported folder, and whether they are whole and of one export."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairseq_smt.core.errors import ConfigurationError, require

CONFIG, CARD, PROGRAM = "config.json", "README.md", "step.pt2"
FILES = {"model": "model.safetensors", "dictionary": "dict.txt", "subwords": "sentencepiece.model"}
"""What loading reads, by its part: the names that an export gives. `subwords` is there for sentencepiece alone."""
FORMAT = 1
AGAIN = "export it again with fairseq-smt-export."
SPECIAL = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}


@dataclass(frozen=True)
class Config:
    """What `config.json` says.

    Attributes:
        model: V as `vocabulary`, and the sizes of the RNN.
        text: `kind`, what a symbol is; `bos`, `pad`, `eos`, `unk`, the ids of the special ones.
        blocks: the block flags of the training.
        files: `name` and `sha256` of every part.
    """

    format: int
    model: dict[str, Any]
    text: dict[str, Any]
    blocks: dict[str, Any]
    files: dict[str, dict[str, str]]

    @property
    def fingerprint(self) -> str:
        """Tells models apart by their weights and vocabularies."""
        content = {part: file["sha256"] for part, file in self.files.items()}
        return hashlib.sha256(json.dumps([content, self.text], sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        (folder / CONFIG).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_config(folder: Path) -> Config:
    """`config.json` of an exported folder, whose files are all there and have its checksums.

    Raises:
        ConfigurationError: for a folder that is none, or not whole, naming the file.
    """
    named = "name a folder written by fairseq-smt-export."
    require(os.path.lexists(folder), f"{folder} does not exist: {named}")
    require(folder.is_dir(), f"{folder} is a file: {named}")
    path = folder / CONFIG
    require(path.is_file(), f"{folder} has no {CONFIG}: {named}")
    try:
        config = _checked(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): change its permissions.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is damaged, or not of fairseq-smt-export ({error!r}): {AGAIN}") from None
    require(
        config.format == FORMAT,
        f"{path} has format {config.format}, this version of fairseq_smt reads {FORMAT}: update it, or {AGAIN}",
    )
    for part, file in config.files.items():
        _check_file(path, part, file["name"], file["sha256"])
    return config


def _checked(content: Any) -> Config:
    config = Config(**content)
    parts = {"model", "dictionary"} | ({"subwords"} if config.text["kind"] == "sentencepiece" else set())
    if set(config.files) != parts:
        raise ValueError(f"it lists the files {sorted(config.files)}")
    if sorted(config.text[name] for name in SPECIAL) != list(range(len(SPECIAL))):
        raise ValueError("its special symbols are not the first")
    if not isinstance(config.blocks["add_bos_token"], bool) or not isinstance(config.model["vocabulary"], int):
        raise ValueError("a value has another type")
    return config


def _check_file(config: Path, part: str, name: str, digest: str) -> None:
    plain = isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")
    require(plain, f"{config} names the file {name!r} for its {part}, which is no file of its folder: {AGAIN}")
    path = config.parent / name
    require(path.is_file(), f"{path} is missing: {AGAIN}")
    try:
        found = checksum(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): change its permissions.") from None
    require(found == digest, f"{path} is damaged, or of another export than {config.name}: {AGAIN}")
