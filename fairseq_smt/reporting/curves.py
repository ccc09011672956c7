"""What a run logged: values by split, name and update, wherever they come from."""

import math
import re
from collections import defaultdict
from dataclasses import dataclass, field

INNER, EPOCHS = "train_inner", "train"
"""Splits of training: means over a few updates, and over epochs. All others are validation's."""
NAME = re.compile(r"[A-Za-z]\w{0,60}")
NAMES = 200
"""Names that a split may have: a file may hold anything."""

Series = dict[int, float]
"""Update → value."""


@dataclass
class Curves:
    """Logged values.

    Attributes:
        values: split → name → update → value; whatever is not finite is absent.
    """

    values: dict[str, dict[str, Series]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))

    def __bool__(self) -> bool:
        return any(self.values.values())

    def add(self, split: str, name: str, update: int, value: float) -> None:
        """Note a value; a later one of the same update replaces it, as a resumed run's does."""
        names = self.values[split]
        if NAME.fullmatch(name) and update >= 0 and math.isfinite(value) and (name in names or len(names) < NAMES):
            names[name][update] = value

    def update(self, other: "Curves") -> None:
        """Add those of another source, whose values win."""
        for split, names in other.values.items():
            for name, series in names.items():
                self.values[split][name] |= series

    def training(self, name: str) -> Series:
        """Values in training, in the order of the updates: means over a few updates, or else over epochs."""
        found = self.values.get(INNER, {}).get(name) or self.values.get(EPOCHS, {}).get(name) or {}
        return dict(sorted(found.items()))

    def validation(self, name: str, split: str | None = None) -> Series:
        """Values in validation, in the order of the updates, of a split or of the first one that has any."""
        splits = [split] if split else [s for s in self.values if s not in (INNER, EPOCHS)]
        found = next((series for s in splits if (series := self.values.get(s, {}).get(name))), {})
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """All names, in the order in which they were first met."""
        return list(dict.fromkeys(name for names in self.values.values() for name in names))


def thinned(series: Series, points: int = 150) -> tuple[list[float], list[float]]:
    """Updates and values with at most so many points, each the mean of its neighbourhood."""
    pairs = list(series.items())
    size = -(-len(pairs) // points) or 1
    parts = [pairs[i : i + size] for i in range(0, len(pairs), size)]
    return [sum(u for u, _ in part) / len(part) for part in parts], [
        sum(v for _, v in part) / len(part) for part in parts
    ]
