"""What a text costs a model, in bits, beside its length."""

from dataclasses import dataclass

CONTINUING = bytes(range(0x80, 0xC0))
"""Bytes of UTF-8 that go on a character."""


@dataclass(frozen=True)
class Cost:
    """Bits of a text, and its length in symbols, characters and bytes (`size`); costs of parts add up."""

    bits: float = 0.0
    symbols: int = 0
    characters: int = 0
    size: int = 0

    @classmethod
    def of(cls, bits: float, symbols: int, text: str | bytes) -> "Cost":
        """That of a text; in bytes that are not UTF-8 every byte that does not go on a character counts as one."""
        data = text.encode() if isinstance(text, str) else text
        return cls(bits, symbols, len(data.translate(None, CONTINUING)), len(data))

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.bits + other.bits,
            self.symbols + other.symbols,
            self.characters + other.characters,
            self.size + other.size,
        )

    @property
    def per_character(self) -> float:
        return self.bits / max(self.characters, 1)

    @property
    def per_byte(self) -> float:
        return self.bits / max(self.size, 1)

    def __str__(self) -> str:
        return (
            f"{self.per_character:.4f} bits per character, {self.per_byte:.4f} per byte "
            f"({self.characters:,} characters, {self.size:,} bytes, {self.symbols:,} symbols)"
        )
