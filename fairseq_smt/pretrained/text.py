"""Text to ids and back, for texts at hand and for texts that come and go in pieces."""

import codecs
import re
from collections.abc import Iterable
from pathlib import Path

from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.data.subwords import SentencepieceVocabulary
from fairseq_smt.data.symbols import REPLACEMENT, SPECIAL, UNKNOWN, Vocabulary
from fairseq_smt.data.vocabulary import KINDS, ByteVocabulary, CharacterVocabulary, decoder
from fairseq_smt.pretrained.folder import AGAIN, CONFIG, Config
from fairseq_smt.pretrained.folder import SPECIAL as SPECIAL_NAMES

LONGEST_WORD = 1 << 16
"""Characters without a newline or space that are held back for the next piece, at most."""


class LineVocabulary(Vocabulary):
    """Symbols of data from elsewhere: they stand between spaces, and a newline is fairseq's eos."""

    kind = "line"
    PADDING = re.compile(r"madeupword\d{4}")

    def encode(self, text: str) -> list[str]:
        return [{"\n": "</s>"}.get(symbol, symbol) for symbol in re.findall(r"\n|\S+", text)]

    def bytes_of(self, symbol: str) -> bytes:
        if symbol == "</s>":
            return b"\n"
        return b"" if symbol in SPECIAL or self.PADDING.fullmatch(symbol) else f"{symbol} ".encode()


class Text:
    """A vocabulary and a dictionary: what a text is to a model.

    Args:
        vocabulary: how a text becomes symbols.
        symbols: the symbols in the order of their ids.
        unknown: the id of what has no symbol.
    """

    def __init__(self, vocabulary: Vocabulary, symbols: list[str], unknown: int):
        self.vocabulary, self.symbols, self.unknown = vocabulary, symbols, unknown
        self.ids = {symbol: i for i, symbol in enumerate(symbols)}
        self.bytes = [REPLACEMENT.encode() if s in UNKNOWN else vocabulary.bytes_of(s) for s in symbols]

    @classmethod
    def load(cls, folder: Path, config: Config) -> "Text":
        """That of an exported folder.

        Raises:
            ConfigurationError: for a dictionary or a sentencepiece model that cannot be read.
        """
        kind = config.text["kind"]
        known = (*KINDS, LineVocabulary.kind)
        require(kind in known, f"{folder / CONFIG} has an unknown kind of text, {kind!r}: {AGAIN}")
        if kind == SentencepieceVocabulary.kind:
            path = folder / config.files["subwords"]["name"]
            try:
                vocabulary = SentencepieceVocabulary(path.read_bytes())
            except ModuleNotFoundError:
                raise ConfigurationError(f"{path} needs sentencepiece: run `pip install sentencepiece`.") from None
            except (OSError, RuntimeError):
                raise ConfigurationError(f"{path} is no sentencepiece model: {AGAIN}") from None
        else:
            vocabulary = LineVocabulary() if kind == LineVocabulary.kind else decoder(kind)
        path = folder / config.files["dictionary"]["name"]
        symbols = read_dictionary(path, {config.text[name]: symbol for name, symbol in SPECIAL_NAMES.items()})
        return cls(vocabulary, symbols, config.text["unk"])

    def encode(self, text: str | bytes) -> list[int]:
        """Ids of a text; bytes for the byte vocabulary only."""
        return [self.ids.get(symbol, self.unknown) for symbol in self.vocabulary.encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are not UTF-8 become `�`."""
        return b"".join(self.bytes[int(i)] for i in ids).decode(errors="replace")

    @property
    def silent(self) -> list[bool]:
        """Whether a symbol stands for no text, or for an unknown one: what is never generated, (V,)."""
        return [i == self.unknown or not content for i, content in enumerate(self.bytes)]


def read_dictionary(path: Path, special: dict[int, str]) -> list[str]:
    """The symbols of fairseq's `dict.txt`, the special ones (by their ids) first.

    Raises:
        ConfigurationError: for a file that is no such dictionary.
    """
    symbols = [special[i] for i in range(len(special))]
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                fields = line.rstrip().removesuffix(" #fairseq:overwrite").rsplit(" ", 1)
                int(fields[1])
                symbols.append(fields[0])
    except (OSError, ValueError, IndexError):
        raise ConfigurationError(f"{path} is not a dictionary of fairseq: {AGAIN}") from None
    return symbols


class Pieces:
    """Bytes that come in pieces, as texts whose symbols the next piece cannot change.

    Args:
        vocabulary: whose symbols.
        source: what sentences call the bytes.
    """

    def __init__(self, vocabulary: Vocabulary, source: str):
        self.raw = isinstance(vocabulary, ByteVocabulary)
        self.whole = isinstance(vocabulary, CharacterVocabulary)
        self.source, self.decoder, self.text, self.position = source, codecs.getincrementaldecoder("utf-8")(), "", 0

    def feed(self, data: bytes, last: bool = False) -> str | bytes:
        """What can be read after this piece; all of it at the `last`.

        Raises:
            ConfigurationError: for what is not UTF-8, where symbols are not bytes.
        """
        if self.raw:
            return data
        waiting = len(self.decoder.getstate()[0])
        try:
            text = self.text + self.decoder.decode(data, final=last)
        except UnicodeDecodeError as error:
            offset = self.position - waiting + error.start
            raise ConfigurationError(
                f"{self.source} is not UTF-8, byte {offset} is 0x{error.object[error.start]:02X}: bring it to UTF-8, "
                "or take a model of bytes."
            ) from None
        self.position += len(data)
        cut = len(text)
        if not (self.whole or last or cut > LONGEST_WORD):
            cut = max(text.rfind("\n") + 1, text.rfind(" "), 0)
        self.text = text[cut:]
        return text[:cut]


class Characters:
    """Bytes of symbols, one after another, as whole characters.

    Args:
        held: bytes of a character that an earlier writer could not finish.
    """

    def __init__(self, held: bytes = b""):
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.decoder.decode(held)

    def feed(self, data: bytes) -> bytes:
        """UTF-8 of the characters that end with these bytes; `�` for bytes that no character can have."""
        return self.decoder.decode(data).encode()

    @property
    def held(self) -> bytes:
        """The beginning of a character."""
        return self.decoder.getstate()[0]
