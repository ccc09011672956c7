"""Texts to fairseq data, in chunks: the memory needed does not depend on the length of a text.

The files are those that fairseq-preprocess makes of one line of symbols per text, to the byte. A text of more than ITEM
symbols is listed in pieces by its index, since fairseq reads all of an item to make one block of it.
"""

import codecs
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from fairseq_smt.core.errors import require
from fairseq_smt.data import vocabulary
from fairseq_smt.data.fairseq_files import fairseq_files
from fairseq_smt.data.folders import replaced_folder
from fairseq_smt.data.parallel import ordered
from fairseq_smt.data.splits import Measured
from fairseq_smt.data.subwords import SentencepieceVocabulary
from fairseq_smt.data.text import Part, character_starts, check_decompressed, check_encoding, to_utf8
from fairseq_smt.data.vocabulary import ByteVocabulary, Vocabulary

if TYPE_CHECKING:
    from fairseq.data import Dictionary

ITEM = 1 << 18
DELAY = 2
"""Seconds until progress is shown."""
SAMPLE = 8_000_000
"""Bytes of text that a sentencepiece model is trained on, at most."""
Splits = dict[str, list[Part]]


@dataclass(frozen=True)
class Settings:
    """How texts become symbols; errors name the flags of the prepare commands."""

    kind: str = "character"
    size: int | None = None
    """Pieces of a sentencepiece model, default 1000."""
    encoding: str | None = None
    """Of the files, default UTF-8; `byte` takes them as they are."""
    workers: int = 1

    def __post_init__(self) -> None:
        require(self.workers > 0, f"--workers must be positive, not {self.workers}.")
        require(
            self.size is None or self.kind == SentencepieceVocabulary.kind,
            f"--vocabulary {self.kind} has no size to choose: remove --vocabulary-size.",
        )
        require(self.size is None or self.size > 0, f"--vocabulary-size must be positive, not {self.size}.")
        require(
            self.encoding is None or self.kind != ByteVocabulary.kind,
            "--vocabulary byte keeps files as they are: remove --encoding, or take another vocabulary.",
        )


def prepare(
    paths: list[str], divide: Callable[[list[Measured]], Splits], destdir: str, settings: Settings
) -> dict[str, dict[str, int]]:
    """Write the data folder; it appears only when all is well.

    Args:
        paths: text files.
        divide: the splits of these texts.

    Returns:
        Per split the numbers of texts, symbols (without eos) and bytes (of UTF-8, unless the vocabulary is `byte`).

    Raises:
        ConfigurationError: for files, sizes, encodings and folders that do not fit, naming them.
    """
    convert = check_encoding(settings.encoding or "utf-8")
    texts = [Part.whole(path) for path in paths]
    if settings.kind != ByteVocabulary.kind:
        for text in texts:
            check_decompressed(text.path, text.head())
        if not convert:
            _tell_of_marks(texts)
    with replaced_folder(destdir) as folder:
        if convert:
            texts = [to_utf8(path, settings.encoding, folder.parent / f"{i}.txt") for i, path in enumerate(paths)]
        splits = divide(_measure(texts, settings))
        for name, parts in splits.items():
            require(any(part.size for part in parts), f"the {name} split is empty: give more text, or a larger share.")
        words = _vocabulary(splits["train"], settings)
        dictionary, ids = _dictionary(words, splits["train"], settings.workers)
        dictionary.save(str(folder / "dict.txt"))
        counts = {name: _write(words, ids, parts, folder / name, settings) for name, parts in splits.items()}
        vocabulary.save(words, folder, counts)
    return counts


def _tell_of_marks(texts: list[Part]) -> None:
    marked = [text.path for text in texts if text.head().startswith(codecs.BOM_UTF8)]
    if marked:
        print(
            f"{marked[0]} begins with a byte order mark, which is kept as a symbol; --encoding utf-8-sig drops it",
            file=sys.stderr,
        )


def _measure(texts: list[Part], settings: Settings) -> list[Measured]:
    """Check every text, and count its characters."""
    raw = settings.kind == ByteVocabulary.kind
    found = [Measured(text) for text in texts]

    def count(chunk: Part) -> int:
        return character_starts(chunk.read() if raw else chunk.text()).size

    for i, chunk, characters in _over(texts, count, settings.workers, "reading"):
        found[i].chunks.append((chunk, characters))
    return found


def _vocabulary(train: list[Part], settings: Settings) -> Vocabulary:
    """The vocabulary that is asked for; a sentencepiece model is trained on the train split, or a sample of it."""
    if settings.kind != SentencepieceVocabulary.kind:
        return vocabulary.decoder(settings.kind)
    total = sum(part.size for part in train)
    if total > SAMPLE:
        print(f"the sentencepiece model is trained on {SAMPLE:,} of {total:,} bytes, evenly spread", file=sys.stderr)
    texts = (chunk.text().decode() for chunk in sample(train, min(SAMPLE, total) / total))
    return SentencepieceVocabulary.train(texts, 1000 if settings.size is None else settings.size)


def sample(parts: Iterable[Part], share: float) -> Iterator[Part]:
    """Chunks spread evenly over the parts that have at most this share of all bytes."""
    seen = taken = 0
    for part in parts:
        for chunk in part.chunks():
            seen += chunk.size
            if taken + chunk.size <= share * seen:
                taken += chunk.size
                yield chunk


def _dictionary(words: Vocabulary, train: list[Part], workers: int) -> tuple["Dictionary", np.ndarray]:
    """The dictionary as fairseq-preprocess makes it, and every code's number in it, (codes,)."""
    counts, symbols = np.zeros(words.number_of_codes(), np.int64), words.symbols()
    if symbols is None:
        for *_, found in _over(train, lambda chunk: np.bincount(words.codes(chunk.read())), workers, "counting"):
            counts[: len(found)] += found
    else:
        counts += 1  # a dictionary that is the same for all texts
    names = {code: words.symbol(code) for code in np.flatnonzero(counts).tolist()}
    dictionary_class, indexed_dataset = fairseq_files()
    dictionary = dictionary_class()
    for symbol in symbols or []:
        dictionary.add_symbol(symbol)
    if symbols is None:
        for code, symbol in names.items():
            dictionary.add_symbol(symbol, int(counts[code]))
        dictionary.finalize(padding_factor=8)
    ids = np.full(len(counts), dictionary.unk(), indexed_dataset.best_fitting_int_dtype(len(dictionary)))
    for code, symbol in names.items():
        ids[code] = dictionary.index(symbol)
    return dictionary, ids


def _write(words: Vocabulary, ids: np.ndarray, parts: list[Part], prefix: Path, settings: Settings) -> dict[str, int]:
    """Write `.bin` and `.idx` of a split: every text and an eos."""
    dictionary_class, indexed_dataset = fairseq_files()
    eos = np.array([dictionary_class().eos()], ids.dtype).tobytes()
    parts = [part for part in parts if part.size]
    items, length = [], 0
    count = {"texts": len(parts), "symbols": 0, "bytes": sum(part.size for part in parts)}

    def numbers(chunk: Part) -> np.ndarray:
        return ids[words.codes(chunk.read())]

    with open(f"{prefix}.bin", "wb") as file:
        for i, chunk, found in _over(parts, numbers, settings.workers, f"writing {prefix.name}"):
            file.write(found.tobytes())
            count["symbols"] += len(found)
            length += len(found)
            if chunk.end == parts[i].end:
                file.write(eos)
                full, rest = divmod(length + 1, ITEM)
                items += [ITEM] * full + [rest] * (rest > 0)
                length = 0
    with indexed_dataset.MMapIndexedDataset.Index.writer(f"{prefix}.idx", ids.dtype.type) as index:
        index.write(items)
    return count


def _over(
    parts: list[Part], function: Callable[[Part], Any], workers: int, what: str
) -> Iterator[tuple[int, Part, Any]]:
    """Number of the part, chunk, and function of the chunk, in order; a terminal is shown progress."""
    chunks, tasks = tee((i, chunk) for i, part in enumerate(parts) for chunk in part.chunks())
    total = sum(part.size for part in parts)
    with tqdm(total=total, unit="B", unit_scale=True, desc=what, delay=DELAY, disable=None, file=sys.stderr) as bar:
        results = ordered(lambda task: function(task[1]), tasks, workers)
        for (i, chunk), result in zip(chunks, results, strict=True):
            yield i, chunk, result
            bar.update(chunk.size)
