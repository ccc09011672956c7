#!/usr/bin/env python3
"""Bits per symbol of unigram and bigram models of fairseq data: what a model without memory reaches.

    python scripts/ngram_baselines.py DATA --gen-subset test

Counted on the train split with additive smoothing, and scored on every symbol that fairseq-eval-lm scores with
`--sample-break-mode none`: all of the subset, eos included, each given the symbol before it.
"""

import argparse
import os

import torch
from fairseq.data import Dictionary, data_utils


def load(folder: str, split: str, dictionary: Dictionary) -> torch.Tensor:
    """All symbols of a split in order, (N,)."""
    dataset = data_utils.load_indexed_dataset(os.path.join(folder, split), dictionary)
    if dataset is None:
        raise SystemExit(f"ngram_baselines: {folder} has no split {split!r}.")
    return torch.cat([dataset[i] for i in range(len(dataset))]).long()


def bits(train: torch.Tensor, test: torch.Tensor, vocabulary: int, eos: int, smoothing: float) -> dict[str, float]:
    """Bits per symbol of `test` under both models."""

    def previous(symbols: torch.Tensor) -> torch.Tensor:
        return torch.cat((symbols.new_tensor([eos]), symbols[:-1]))

    pairs = torch.bincount(previous(train) * vocabulary + train, minlength=vocabulary**2).view(vocabulary, vocabulary)
    bigram = pairs.double() + smoothing
    unigram = bigram.sum(0)
    return {
        "unigram": -(unigram / unigram.sum()).log2()[test].mean().item(),
        "bigram": -(bigram / bigram.sum(1, keepdim=True)).log2()[previous(test), test].mean().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder written by fairseq-preprocess")
    parser.add_argument("--gen-subset", default="test", help="split to score")
    parser.add_argument("--smoothing", type=float, default=0.1, help="added to every count")
    args = parser.parse_args()
    path = os.path.join(args.data, "dict.txt")
    if not os.path.isfile(path):
        parser.error(f"{path} does not exist")
    dictionary = Dictionary.load(path)
    train, test = (load(args.data, split, dictionary) for split in ("train", args.gen_subset))
    for name, value in bits(train, test, len(dictionary), dictionary.eos(), args.smoothing).items():
        print(f"{name} {value:.4f}")


if __name__ == "__main__":
    main()
