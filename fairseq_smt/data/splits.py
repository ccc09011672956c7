"""Which texts, or stretches of texts, are for training, validation and test. No split sees a byte of another one."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from fairseq_smt.core.errors import require
from fairseq_smt.data.text import Part, character_starts

SPLITS = ("train", "valid", "test")


@dataclass
class Measured:
    """A text with the number of characters in each of its chunks."""

    whole: Part
    chunks: list[tuple[Part, int]] = field(default_factory=list)

    def offset(self, character: int) -> int:
        """Where in the file a character begins; its end after the last one."""
        for chunk, characters in self.chunks:
            if character < characters:
                return chunk.start + int(character_starts(chunk.read())[character]) if character else chunk.start
            character -= characters
        return self.whole.end

    def digest(self) -> bytes:
        """What tells its bytes from others."""
        found = hashlib.sha256()
        for chunk, _ in self.chunks:
            found.update(chunk.read())
        return found.digest()


def split_by_share(texts: Sequence[Measured], valid: float, test: float) -> dict[str, list[Part]]:
    """Cut every text into train, valid and test parts by shares of its characters, in this order."""
    parts: dict[str, list[Part]] = {name: [] for name in SPLITS}
    for text in texts:
        length = sum(characters for _, characters in text.chunks)
        cuts = [text.offset(round(length * (1 - share))) for share in (valid + test, test)]
        for name, start, end in zip(SPLITS, [0, *cuts], [*cuts, text.whole.end], strict=True):
            parts[name].append(Part(text.whole.path, start, end))
    return parts


def split_by_document(texts: Sequence[Measured], valid: float, test: float) -> dict[str, list[Part]]:
    """Give whole texts to the splits: the last ones, at least one each, to test and valid.

    Raises:
        ConfigurationError: when there are too few, or one is in two splits.
    """
    numbers = [max(1, round(len(texts) * share)) for share in (valid, test)]
    require(
        len(texts) > sum(numbers), f"--split document needs more than {len(texts)} files: give more, or --split share."
    )
    return split_by_number(texts, [len(texts) - sum(numbers), *numbers])


def split_by_number(texts: Sequence[Measured], numbers: Sequence[int]) -> dict[str, list[Part]]:
    """So many texts to train, valid and test, in this order.

    Raises:
        ConfigurationError: when one is in two splits, under whatever names.
    """
    ends = [sum(numbers[: i + 1]) for i in range(len(numbers))]
    splits = {name: texts[end - number : end] for name, number, end in zip(SPLITS, numbers, ends, strict=True)}
    _check_apart(splits)
    return {name: [text.whole for text in part] for name, part in splits.items()}


def _check_apart(splits: dict[str, Sequence[Measured]]) -> None:
    splits_of_size, first = defaultdict(set), {}
    for name, texts in splits.items():
        for text in texts:
            splits_of_size[text.whole.size].add(name)
    for name, texts in splits.items():
        for text in texts:
            size = text.whole.size
            if size and len(splits_of_size[size]) > 1:  # texts of different sizes need not be read again
                earlier, split = first.setdefault(text.digest(), (text.whole.name, name))
                require(split == name, _leak(earlier, text.whole.name, split, name))


def _leak(first: str, second: str, *splits: str) -> str:
    where = f"would be in {' and '.join(splits)}"
    if first == second:
        return f"{first} {where}: name it once."
    return f"{first} and {second} hold the same text and {where}: leave one out."
