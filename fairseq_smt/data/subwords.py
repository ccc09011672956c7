"""Sentencepiece subwords that keep every text exactly."""

import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.data.symbols import NEEDS_ESCAPE, NEWLINE, SPACE, SPECIAL, Vocabulary

if TYPE_CHECKING:
    import numpy as np


class SentencepieceVocabulary(Vocabulary):
    """Subwords, `⏎` for a newline, and `<0x09>` for each byte of a character that the model has not: none is unknown.

    Args:
        model: a model as trained by `train`; None can decode only.
    """

    kind = "sentencepiece"
    BYTE = re.compile(r"<0x([0-9A-F]{2})>")
    APART = re.compile(f"(\n|{NEEDS_ESCAPE.pattern})")
    """What is no part of a piece."""
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

        Training takes 30 times the memory of the texts.

        Raises:
            ConfigurationError: when the texts cannot give that number of pieces.
        """
        import sentencepiece

        sentences = cls._sentences(texts)
        first = next(sentences, None)
        require(first is not None, "--vocabulary sentencepiece has no text to train on: give more of it.")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=chain([first], sentences),
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

    @classmethod
    def _sentences(cls, texts: Iterable[str]) -> Iterator[str]:
        """Lines, cut to 1000 characters, without what must not become part of a piece."""
        for text in texts:
            for line in cls.RESERVED.split(text):
                if line.strip():
                    yield from (part for i in range(0, len(line), 1000) if (part := line[i : i + 1000]))

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
        for part in self.APART.split(text):
            if self.APART.fullmatch(part):
                symbols += self._apart(part)
            elif part:
                symbols += self.processor.encode(part, out_type=str)
        return symbols

    def bytes_of(self, symbol: str) -> bytes:
        byte = self.BYTE.fullmatch(symbol)
        if byte:
            return bytes([int(byte[1], 16)])
        if symbol in SPECIAL:
            return b""
        return b"\n" if symbol == NEWLINE else symbol.replace(SPACE, " ").encode()

    def symbols(self) -> list[str]:
        special = (self.processor.is_control, self.processor.is_unknown)
        return [self.symbol(i) for i in range(self.number_of_codes()) if not any(test(i) for test in special)]

    def number_of_codes(self) -> int:
        return self.processor.get_piece_size()

    def codes(self, text: bytes) -> "np.ndarray":
        import numpy as np

        parts = self.APART.split(text.decode())
        plain = self.processor.encode(parts[::2], out_type=int, num_threads=1)
        apart = ([self.processor.piece_to_id(s) for s in self._apart(part)] for part in parts[1::2])
        both = chain.from_iterable(zip_longest(plain, apart, fillvalue=()))
        return np.fromiter(chain.from_iterable(both), np.int64)

    def symbol(self, code: int) -> str:
        return self.processor.id_to_piece(code)

    @staticmethod
    def _apart(part: str) -> list[str]:
        return [NEWLINE] if part == "\n" else [f"<0x{b:02X}>" for b in part.encode()]
