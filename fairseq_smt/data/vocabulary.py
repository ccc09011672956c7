"""Vocabularies: how a text becomes symbols, and how many bytes each symbol stands for.

A text is one line of symbols separated by spaces, newlines included, so that fairseq's eos ends a document. All three
kinds keep every text exactly, and `byte` every file. Ordinary text is encoded as by fairseq's `--bpe characters`,
`bytes` and `sentencepiece` (which fold or drop some whitespace), and these decode it. Nothing here imports fairseq, and
numpy only where the codes of a long text are made.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.data.subwords import SentencepieceVocabulary
from fairseq_smt.data.symbols import NEEDS_ESCAPE, NEWLINE, SPACE, SPECIAL, UNKNOWN, Vocabulary

if TYPE_CHECKING:
    import numpy as np

KINDS = ("character", "byte", "sentencepiece")
DESCRIPTION, MODEL = "vocabulary.json", "sentencepiece.model"


class CharacterVocabulary(Vocabulary):
    """Unicode characters: a space is `▁`, a newline `⏎`; what needs an escape is `<U+0009>`, one symbol as well.

    A character's code is its code point.
    """

    kind = "character"
    ESCAPE = re.compile(r"<U\+([0-9A-F]{4,6})>")

    def encode(self, text: str) -> list[str]:
        return [self.symbol(ord(c)) for c in text]

    def bytes_of(self, symbol: str) -> bytes:
        if len(symbol) == 1:
            return {SPACE: " ", NEWLINE: "\n"}.get(symbol, symbol).encode()
        escape = self.ESCAPE.fullmatch(symbol)
        code = int(escape[1], 16) if escape else self.number_of_codes()
        return chr(code).encode(errors="ignore") if code < self.number_of_codes() else b""

    def symbols(self) -> None:
        return None

    def number_of_codes(self) -> int:
        return 0x110000

    def codes(self, text: bytes) -> "np.ndarray":
        import numpy as np

        return np.frombuffer(text.decode().encode("utf-32-le"), "<u4")

    def symbol(self, code: int) -> str:
        character = chr(code)
        plain = {" ": SPACE, "\n": NEWLINE}.get(character, character)
        return f"<U+{code:04X}>" if NEEDS_ESCAPE.match(character) else plain


def _symbol_of_byte(byte: int) -> str:
    """fairseq's own table (`BYTE_TO_BCHAR`), with its escape of the space."""
    printable = 32 < byte < 127 or (byte > 160 and byte != 173)
    return SPACE if byte == 32 else chr(byte if printable else 256 + byte)


class ByteVocabulary(Vocabulary):
    """Bytes, each as the character that fairseq's `--bpe bytes` uses for it; a space is `▁`. A byte is its code."""

    kind = "byte"
    SYMBOLS = [_symbol_of_byte(b) for b in range(256)]
    BYTES = {symbol: bytes([b]) for b, symbol in enumerate(SYMBOLS)}

    def encode(self, text: str | bytes) -> list[str]:
        return [self.SYMBOLS[b] for b in (text.encode() if isinstance(text, str) else text)]

    def bytes_of(self, symbol: str) -> bytes:
        return self.BYTES.get(symbol, b"")

    def symbols(self) -> list[str]:
        return list(self.SYMBOLS)

    def number_of_codes(self) -> int:
        return 256

    def codes(self, text: bytes) -> "np.ndarray":
        import numpy as np

        return np.frombuffer(text, np.uint8)

    def symbol(self, code: int) -> str:
        return self.SYMBOLS[code]


def decoder(kind: str) -> Vocabulary:
    """A vocabulary that can decode, and encode unless it is sentencepiece."""
    return {v.kind: v for v in (CharacterVocabulary, ByteVocabulary, SentencepieceVocabulary)}[kind]()


def save(vocabulary: Vocabulary, folder: Path, splits: dict[str, dict[str, int]]) -> None:
    """Write `vocabulary.json` with the kind and the counts per split, and the sentencepiece model if there is one."""
    description = {"kind": vocabulary.kind, "splits": splits}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    if isinstance(vocabulary, SentencepieceVocabulary):
        (folder / MODEL).write_bytes(vocabulary.model)


def load(folder: Path) -> Vocabulary | None:
    """The vocabulary of a data folder; None where it has no `vocabulary.json`.

    Raises:
        ConfigurationError: when the description, or the sentencepiece model beside it, cannot be read.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return None
    again = "make the data anew with fairseq-smt-prepare-text."
    try:
        kind = json.loads(path.read_text(encoding="utf-8"))["kind"]
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"{path} is damaged: {again}") from None
    require(kind in KINDS, f"{path} names an unknown kind of vocabulary, {kind!r}: {again}")
    if kind != SentencepieceVocabulary.kind:
        return decoder(kind)
    try:
        return SentencepieceVocabulary((folder / MODEL).read_bytes())
    except (OSError, RuntimeError):
        raise ConfigurationError(f"{folder / MODEL} is missing or damaged: {again}") from None


def byte_lengths(vocabulary: Vocabulary, symbols: Iterable[str]) -> list[int]:
    """Bytes per symbol of a dictionary: 0 for eos and other special ones; 1 for `<unk>`, the least it can stand for."""
    return [1 if s in UNKNOWN else 0 if s in SPECIAL else vocabulary.size(s) for s in symbols]


class TextCodec:
    """A vocabulary with the methods of fairseq's `--bpe` encoders, for any text."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary

    def encode(self, text: str) -> str:
        return " ".join(self.vocabulary.encode(text))

    def decode(self, symbols: str) -> str:
        return self.vocabulary.decode(symbols.split())


class LineCodec(TextCodec):
    """The same for prompts and output of one line each.

    In a line, `⏎` is a newline and `▁` a space, which a prompt may end with.
    """

    def encode(self, line: str) -> str:
        return super().encode(line.replace(NEWLINE, "\n").replace(SPACE, " "))

    def decode(self, symbols: str) -> str:
        return super().decode(symbols).replace("\n", NEWLINE)
