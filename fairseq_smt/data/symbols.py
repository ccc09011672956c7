"""Names of symbols, and what every vocabulary does with them."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SPACE, NEWLINE, REPLACEMENT = "▁", "⏎", "\ufffd"
UNKNOWN = ("<unk>", "<<unk>>")
SPECIAL = ("<s>", "</s>", "<pad>")
NEEDS_ESCAPE = re.compile(f"[{SPACE}{NEWLINE}]|[^\\S \n]")
"""Characters that no plain symbol can be: the two stand-ins, and whitespace, at which fairseq splits a line."""


class Vocabulary:
    """How a text becomes symbols and they become the text again.

    Beside its name a symbol has a code, a number that depends on the kind alone: dictionaries come after it.
    """

    kind: str

    def encode(self, text: str) -> list[str]:
        """The symbols of a text."""
        raise NotImplementedError

    def bytes_of(self, symbol: str) -> bytes:
        """What a symbol stands for; nothing for special ones and fairseq's padding of the dictionary."""
        raise NotImplementedError

    def symbols(self) -> list[str] | None:
        """All symbols in the dictionary's order; None: they are those of the train split, by their frequency."""
        raise NotImplementedError

    def number_of_codes(self) -> int:
        """Codes are smaller than this."""
        raise NotImplementedError

    def codes(self, text: bytes) -> "np.ndarray":
        """The codes of `encode`, (symbols,), at the speed of numpy; of UTF-8, which the caller has checked."""
        raise NotImplementedError

    def symbol(self, code: int) -> str:
        """The name of the symbol with this code."""
        raise NotImplementedError

    def decode_bytes(self, symbols: Iterable[str]) -> bytes:
        """Exactly what was encoded; an unknown symbol becomes `�`."""
        return b"".join(REPLACEMENT.encode() if s in UNKNOWN else self.bytes_of(s) for s in symbols)

    def decode(self, symbols: Iterable[str]) -> str:
        """The text; bytes that are not UTF-8, which a model may well generate, become `�`."""
        return self.decode_bytes(symbols).decode(errors="replace")

    def size(self, symbol: str) -> int:
        """Bytes that a symbol stands for."""
        return len(self.bytes_of(symbol))
