"""Tiny models as exported folders, with random weights and every kind of vocabulary."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pydoc_data.topics import topics

import torch

from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.data import vocabulary
from fairseq_smt.data.subwords import SentencepieceVocabulary
from fairseq_smt.pretrained.folder import SPECIAL
from fairseq_smt.pretrained.model import save
from fairseq_smt.pretrained.text import LineVocabulary

TEXT = "\n".join(topics[name] for name in sorted(topics)[:20])[:40000] + "αβ 🙂"
IDS = {name: i for i, name in enumerate(SPECIAL)}
BLOCKS = {"tokens_per_sample": 32, "sample_break_mode": "none", "add_bos_token": True}
KINDS = (*vocabulary.KINDS, LineVocabulary.kind)


def words(kind: str) -> tuple[vocabulary.Vocabulary, list[str]]:
    """A vocabulary, and the symbols of its dictionary."""
    if kind == "sentencepiece":
        made = SentencepieceVocabulary.train([TEXT], 500)
    else:
        made = LineVocabulary() if kind == "line" else vocabulary.decoder(kind)
    special = set(SPECIAL.values())
    return made, made.symbols() if kind in ("byte", "sentencepiece") else sorted(set(made.encode(TEXT)) - special)


def export(folder: Path, kind: str, seed: int = 0, cell: str = "mlp") -> RecurrentLanguageModel:
    """Write a folder; return its RNN."""
    folder.mkdir()
    torch.manual_seed(seed)
    made, symbols = words(kind)
    sizes = RnnConfig(4, 8, cell, cell_hidden=16, cell_layers=1, cell_heads=2)
    rnn = RecurrentLanguageModel(len(symbols) + len(SPECIAL), sizes).eval().requires_grad_(False)
    save(folder, rnn, made, [(symbol, 1) for symbol in symbols], IDS, BLOCKS)
    return rnn


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """Another content of a file, or none, for a moment."""
    before = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
