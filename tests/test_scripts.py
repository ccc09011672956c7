"""Data scripts: symbols, splits without leakage, and n-gram baselines."""

import math

import pytest
import torch
from ngram_baselines import bits
from prepare_text import split_by_document, split_by_share


def test_splitting_by_share_loses_and_repeats_nothing():
    texts = ["".join(map(str, range(i, i + 60))) for i in (0, 500)]
    parts = split_by_share(texts, 0.1, 0.2)
    assert [a + b + c for a, b, c in zip(*(parts[n] for n in ("train", "valid", "test")), strict=True)] == texts
    for text, *cut in zip(texts, *(parts[n] for n in ("train", "valid", "test")), strict=True):
        assert [len(x) / len(text) for x in cut] == pytest.approx([0.7, 0.1, 0.2], abs=1 / len(text))


def test_splitting_by_document_gives_every_text_to_one_split():
    texts = [f"text {i}" for i in range(10)]
    parts = split_by_document(texts, 0.1, 0.2)
    assert sorted(sum(parts.values(), [])) == texts and [len(parts[n]) for n in ("train", "valid", "test")] == [7, 1, 2]
    with pytest.raises(SystemExit, match="needs more than 2 files"):
        split_by_document(texts[:2], 0.1, 0.1)


def test_ngram_baselines_equal_a_plain_count():
    train, test = [3, 4, 3, 4, 4, 2], [4, 3, 2]
    eos, vocabulary, smoothing = 2, 5, 0.1
    pairs = list(zip([eos] + train, train, strict=False))

    def bigram(a: int, b: int) -> float:
        return (pairs.count((a, b)) + smoothing) / (sum(p[0] == a for p in pairs) + smoothing * vocabulary)

    def unigram(b: int) -> float:
        return (train.count(b) + smoothing * vocabulary) / (len(train) + smoothing * vocabulary**2)

    found = bits(torch.tensor(train), torch.tensor(test), vocabulary, eos, smoothing)
    expected = [-math.log2(bigram(a, b)) for a, b in zip([eos] + test, test, strict=False)]
    assert found["bigram"] == pytest.approx(sum(expected) / 3)
    assert found["unigram"] == pytest.approx(-sum(math.log2(unigram(b)) for b in test) / 3)
