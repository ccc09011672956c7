"""Text files of any length: read in chunks, checked, and brought to UTF-8. Nothing is changed on the way."""

import codecs
import io
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairseq_smt.core.errors import ConfigurationError, require

CHUNK = 1 << 20
"""Bytes that are held at a time."""
MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte order marks that no UTF-8 begins with; the first that fits."""
HEAD = 16
"""Bytes that tell what a file is."""
COMPRESSED = re.compile(
    rb"(?P<gzip>\x1f\x8b\x08)|(?P<zstandard>\x28\xb5\x2f\xfd)|(?P<xz>\xfd7zXZ\0)"
    rb"|(?P<bzip2>BZh[1-9](?:1AY&SY|\x17rE8P\x90))|(?P<zip>PK(?:\x03\x04|\x05\x06|\x07\x08))"
)
"""What compressed files begin with; a bzip2 file's mark alone could be text, and its first block follows."""
DECOMPRESS = {
    "gzip": ("gunzip -k", ".gz"),
    "zstandard": ("unzstd", ".zst"),
    "xz": ("unxz -k", ".xz"),
    "bzip2": ("bunzip2 -k", ".bz2"),
    "zip": ("unzip", ""),
}
"""Commands, and the ends of names without which they take no file."""


@dataclass(frozen=True)
class Part:
    """Bytes [start, end) of a file; `source` is the user's where this is a copy of it in UTF-8."""

    path: str
    start: int
    end: int
    source: str | None = None

    @classmethod
    def whole(cls, path: str) -> "Part":
        """All of a file.

        Raises:
            ConfigurationError: when it is absent, or no file that can be read twice.
        """
        require(
            not os.path.isdir(path),
            f"{path} is a folder: give its files instead, for example {os.path.join(path, '*.txt')}.",
        )
        exists = os.path.lexists(path)
        require(exists or path != "-", "standard input cannot be read twice: write it to a file first.")
        require(exists, f"{path} does not exist.")
        require(
            os.path.isfile(path), f"{path} is no ordinary file and cannot be read twice: write its text to one first."
        )
        return cls(path, 0, os.path.getsize(path))

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def name(self) -> str:
        """The file as the user named it."""
        return self.source or self.path

    def head(self) -> bytes:
        """The first bytes of the file."""
        return Part(self.path, 0, min(HEAD, self.end)).read()

    def read(self) -> bytes:
        """Its bytes, all at once.

        Raises:
            ConfigurationError: when the file cannot be read, or has become shorter.
        """
        with _reading(self.path), open(self.path, "rb") as file:
            file.seek(self.start)
            data = file.read(self.size)
        require(len(data) == self.size, f"{self.path} became shorter while it was read: try again.")
        return data

    def text(self) -> bytes:
        """Its bytes, when they are UTF-8.

        Raises:
            ConfigurationError: naming the first byte that is not, and the remedy.
        """
        data = self.read()
        try:
            data.decode()
        except UnicodeDecodeError as error:
            self._refuse(self.start + error.start, data[error.start])
        return data

    def chunks(self) -> Iterator["Part"]:
        """Itself in pieces of at most CHUNK bytes that end after a newline, or before a space, or between characters.

        A sentencepiece model gives the same symbols for pieces that end so as for the whole, unless a line has CHUNK
        bytes without a space.
        """
        start = self.start
        while self.end - start > CHUNK:
            end = start + _last_cut(Part(self.path, start, start + CHUNK).read())
            yield Part(self.path, start, end)
            start = end
        if start < self.end:
            yield Part(self.path, start, self.end)

    def _refuse(self, offset: int, byte: int) -> None:
        head = self.head()
        named = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
        remedy = f"it begins like {named.upper()}: give --encoding {named}" if named else "give --encoding latin-1"
        other = "" if named else ", or what it is in,"
        raise ConfigurationError(
            f"{self.path} is not UTF-8, byte {offset} is 0x{byte:02X}: {remedy}{other} or --vocabulary byte."
        )


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): give another file.") from None


def check_decompressed(path: str, head: bytes) -> None:
    """Refuse a file whose first bytes are those of compressed ones.

    Raises:
        ConfigurationError: with the command that decompresses it.
    """
    found = COMPRESSED.match(head)
    if found:
        (command, suffix), name = DECOMPRESS[found.lastgroup], shlex.quote(path)
        if path.endswith(suffix):
            remedy = f"{command} {name}"
        else:
            remedy = f"{command.split()[0]} < {name} > {shlex.quote(f'{path}.txt')}"
        raise ConfigurationError(f"{path} is compressed by {found.lastgroup}: decompress it first, by {remedy}.")


def _last_cut(data: bytes) -> int:
    newline, space = data.rfind(b"\n") + 1, data.rfind(b" ")
    if newline or space > 0:
        return newline or space
    starts = character_starts(data[-4:])  # a character of UTF-8 has at most 4 bytes
    cut = len(data) - 4 + int(starts[-1]) if starts.size else len(data)
    return cut or len(data)


def character_starts(data: bytes) -> np.ndarray:
    """Where characters of UTF-8 begin, (characters,); in other data every byte that does not go on one counts."""
    return np.flatnonzero((np.frombuffer(data, np.uint8) & 0xC0) != 0x80)


def check_encoding(encoding: str) -> bool:
    """Whether text in this encoding has to be brought to UTF-8.

    Raises:
        ConfigurationError: when Python has no such encoding of text.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        return codecs.lookup(encoding).name != "utf-8"
    except (LookupError, ValueError):
        raise ConfigurationError(
            f"--encoding {encoding} is unknown: give a name that Python knows, like utf-16, latin-1 or cp1252."
        ) from None


def to_utf8(path: str, encoding: str, target: Path) -> Part:
    """The text of a file, written to `target` in UTF-8.

    Raises:
        ConfigurationError: when the file cannot be read, or naming the byte that is not in the encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    position = 0
    with _reading(path):
        source = open(path, "rb")
    with source, target.open("wb") as file:
        while True:
            with _reading(path):
                data = source.read(CHUNK)
            position += len(data)
            try:
                file.write(decoder.decode(data, final=not data).encode())
            except UnicodeError as error:
                where = ""
                if isinstance(error, UnicodeDecodeError):  # its object is what was left from before, and the new data
                    offset = position - len(error.object) + error.start
                    where = f", byte {offset} is 0x{error.object[error.start]:02X}"
                raise ConfigurationError(
                    f"{path} is not {encoding}{where} ({getattr(error, 'reason', error)}): give its own --encoding."
                ) from None
            if not data:
                break
    return Part(str(target), 0, target.stat().st_size, path)
