"""Vocabularies: how a text becomes symbols, and how many bytes of UTF-8 each symbol stands for.

A text is one line of symbols separated by spaces, newlines included, so that fairseq's eos ends a document. All three
kinds keep every text exactly. Ordinary text is encoded as by fairseq's `--bpe characters`, `bytes` and `sentencepiece`
(which fold or drop some whitespace), and these decode it. Nothing here imports fairseq.
"""

import io
import json
import re
from collections.abc import Iterable
from pathlib import Path

from fairseq_smt.core.errors import ConfigurationError, require

KINDS = ("character", "byte", "sentencepiece")
SPACE, NEWLINE, REPLACEMENT = "▁", "⏎", "\ufffd"
DESCRIPTION, MODEL = "vocabulary.json", "sentencepiece.model"
UNKNOWN = ("<unk>", "<<unk>>")
SPECIAL = ("<s>", "</s>", "<pad>")
NEEDS_ESCAPE = re.compile(f"[{SPACE}{NEWLINE}]|[^\\S \n]")
"""Characters that no plain symbol can be: the two stand-ins, and whitespace, at which fairseq splits a line."""


class CharacterVocabulary:
    """Unicode characters: a space is `▁`, a newline `⏎`; what needs an escape is `<U+0009>`, one symbol as well."""

    kind = "character"
    ESCAPE = re.compile(r"<U\+([0-9A-F]{4,6})>")

    def encode(self, text: str) -> list[str]:
        plain = {" ": SPACE, "\n": NEWLINE}
        return [plain.get(c) or (f"<U+{ord(c):04X}>" if NEEDS_ESCAPE.match(c) else c) for c in text]

    def decode(self, symbols: Iterable[str]) -> str:
        return "".join(REPLACEMENT if s in UNKNOWN else self._character(s) for s in symbols)

    def size(self, symbol: str) -> int:
        """Bytes of UTF-8 that a symbol stands for; 0 for special ones and fairseq's padding of the dictionary."""
        return len(self._character(symbol).encode())

    def symbols(self) -> list[str] | None:
        """All symbols in the dictionary's order; None: fairseq-preprocess takes them from the train split."""
        return None

    def _character(self, symbol: str) -> str:
        if len(symbol) == 1:
            return {SPACE: " ", NEWLINE: "\n"}.get(symbol, symbol)
        escape = self.ESCAPE.fullmatch(symbol)
        return chr(int(escape[1], 16)) if escape and int(escape[1], 16) < 0x110000 else ""


def _symbol_of_byte(byte: int) -> str:
    """fairseq's own table (`BYTE_TO_BCHAR`), with its escape of the space."""
    printable = 32 < byte < 127 or (byte > 160 and byte != 173)
    return SPACE if byte == 32 else chr(byte if printable else 256 + byte)


class ByteVocabulary:
    """Bytes of UTF-8, each as the character that fairseq's `--bpe bytes` uses for it; a space is `▁`."""

    kind = "byte"
    SYMBOLS = [_symbol_of_byte(b) for b in range(256)]
    BYTES = {symbol: bytes([b]) for b, symbol in enumerate(SYMBOLS)}

    def encode(self, text: str) -> list[str]:
        return [self.SYMBOLS[b] for b in text.encode()]

    def decode(self, symbols: Iterable[str]) -> str:
        """The text; bytes that are not UTF-8, which a model may well generate, become `�`."""
        data = b"".join(REPLACEMENT.encode() if s in UNKNOWN else self.BYTES.get(s, b"") for s in symbols)
        return data.decode(errors="replace")

    def size(self, symbol: str) -> int:
        return len(self.BYTES.get(symbol, b""))

    def symbols(self) -> list[str]:
        return list(self.SYMBOLS)


class SentencepieceVocabulary:
    """Subwords, `⏎` for a newline, and `<0x09>` for each byte of a character that the model has not: none is unknown.

    Args:
        model: a model as trained by `train`; None can decode only.
    """

    kind = "sentencepiece"
    BYTE = re.compile(r"<0x([0-9A-F]{2})>")
    RESERVED = re.compile(NEEDS_ESCAPE.pattern + "|\n|\u2585|<(?:s|/s|pad|unk|0x[0-9A-F]{2})>")
    """What must not become part of a piece: escapes, sentencepiece's own mark, and names of special symbols."""

    def __init__(self, model: bytes | None = None):
        self.model = model
        if model is not None:
            import sentencepiece

            self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> "SentencepieceVocabulary":
        """A unigram model of `size` pieces, the same at every call; spaces, case and Unicode stay as they are.

        Raises:
            ConfigurationError: when the texts cannot give that number of pieces.
        """
        import sentencepiece

        lines = (line for text in texts for line in cls.RESERVED.split(text))
        chunks = [line[i : i + 1000] for line in lines for i in range(0, len(line), 1000) if line.strip()]
        require(bool(chunks), "--vocabulary sentencepiece has no text to train on: give more of it.")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(chunks),
                model_writer=model,
                vocab_size=size,
                model_type="unigram",
                byte_fallback=True,
                user_defined_symbols=[NEWLINE],
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise ConfigurationError(cls._remedy(str(error), size)) from None
        return cls(model.getvalue())

    @staticmethod
    def _remedy(message: str, size: int) -> str:
        most = re.search(r"too high \(\d+\).*<= (\d+)", message)
        least = re.search(r"\d+ vs (\d+)", message)
        if most:
            return f"--vocabulary-size {size} is too large for this text: give at most {most[1]}, or more text."
        if least:
            return f"--vocabulary-size {size} is too small for the characters of this text: give at least {least[1]}."
        return f"--vocabulary sentencepiece could not be trained: {message.strip()}"

    def encode(self, text: str) -> list[str]:
        symbols = []
        for part in re.split(f"(\n|{NEEDS_ESCAPE.pattern})", text):
            if part == "\n":
                symbols.append(NEWLINE)
            elif NEEDS_ESCAPE.fullmatch(part):
                symbols += [f"<0x{b:02X}>" for b in part.encode()]
            elif part:
                symbols += self.processor.encode(part, out_type=str)
        return symbols

    def decode(self, symbols: Iterable[str]) -> str:
        return b"".join(REPLACEMENT.encode() if s in UNKNOWN else self._bytes(s) for s in symbols).decode(
            errors="replace"
        )

    def size(self, symbol: str) -> int:
        return len(self._bytes(symbol))

    def symbols(self) -> list[str]:
        pieces = range(self.processor.get_piece_size())
        special = (self.processor.is_control, self.processor.is_unknown)
        return [self.processor.id_to_piece(i) for i in pieces if not any(test(i) for test in special)]

    def _bytes(self, symbol: str) -> bytes:
        byte = self.BYTE.fullmatch(symbol)
        if byte:
            return bytes([int(byte[1], 16)])
        if symbol in SPECIAL:
            return b""
        return b"\n" if symbol == NEWLINE else symbol.replace(SPACE, " ").encode()


Vocabulary = CharacterVocabulary | ByteVocabulary | SentencepieceVocabulary


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
    again = "make the data anew with scripts/prepare_text.py."
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


class LineCodec:
    """A vocabulary with the methods of fairseq's `--bpe` encoders, for prompts and output of one line each.

    In a line, `⏎` is a newline and `▁` a space, which a prompt may end with.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary

    def encode(self, line: str) -> str:
        return " ".join(self.vocabulary.encode(line.replace(NEWLINE, "\n").replace(SPACE, " ")))

    def decode(self, symbols: str) -> str:
        return self.vocabulary.decode(symbols.split()).replace("\n", NEWLINE)
