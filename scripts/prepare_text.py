#!/usr/bin/env python3
"""Turn text files into fairseq data: characters, bytes or sentencepiece subwords.

    python scripts/prepare_text.py --destdir DATA book.txt other.txt            # splits each text by share, 90/5/5
    python scripts/prepare_text.py --destdir DATA --split document *.txt        # whole files go to one split
    python scripts/prepare_text.py --destdir DATA --valid v.txt --test t.txt a.txt b.txt
    python scripts/prepare_text.py --destdir DATA --vocabulary sentencepiece --vocabulary-size 2000 *.txt

A text becomes one line of symbols that ends in fairseq's eos, so that newlines are ordinary symbols and eos ends a
document. A space is `▁` and a newline `⏎` (`Ċ` among bytes). The sentencepiece model is trained on the train split and
stands in DATA as `sentencepiece.model`. `--decode` turns symbols back into text; give it the same --vocabulary.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.data import vocabulary
from fairseq_smt.data.folders import replaced_folder
from fairseq_smt.data.vocabulary import SentencepieceVocabulary, Vocabulary


def read(path: str) -> str:
    """A text file with newlines unified; Latin-1 where it is not UTF-8."""
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def split_by_share(texts: list[str], valid: float, test: float) -> dict[str, list[str]]:
    """Cut every text into train, valid and test parts, in this order and without overlap."""
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for text in texts:
        a, b = round(len(text) * (1 - valid - test)), round(len(text) * (1 - test))
        for name, part in (("train", text[:a]), ("valid", text[a:b]), ("test", text[b:])):
            parts[name].append(part)
    return parts


def split_by_document(texts: list[str], valid: float, test: float) -> dict[str, list[str]]:
    """Give whole texts to the splits: the last ones, at least one each, to test and valid."""
    number = {name: max(1, round(len(texts) * share)) for name, share in (("valid", valid), ("test", test))}
    if len(texts) < number["valid"] + number["test"] + 1:
        raise SystemExit(f"prepare_text: --split document needs more than {len(texts)} files; use --split share.")
    b = len(texts) - number["test"]
    a = b - number["valid"]
    return {"train": texts[:a], "valid": texts[a:b], "test": texts[b:]}


def add_vocabulary_flags(parser: argparse.ArgumentParser) -> None:
    """`--vocabulary` and `--vocabulary-size`."""
    parser.add_argument("--vocabulary", choices=vocabulary.KINDS, default="character", help="what a symbol is")
    parser.add_argument("--vocabulary-size", type=int, help="pieces of the sentencepiece model, default 1000")


def make_vocabulary(kind: str, size: int | None, train: list[str]) -> Vocabulary:
    """A vocabulary by its flags; sentencepiece is trained on the train split's texts."""
    if kind != SentencepieceVocabulary.kind:
        if size is not None:
            raise SystemExit(f"prepare_text: --vocabulary {kind} has no size to choose: remove --vocabulary-size.")
        return vocabulary.decoder(kind)
    if size is not None and size < 1:
        raise SystemExit(f"prepare_text: --vocabulary-size must be positive, not {size}.")
    try:
        return SentencepieceVocabulary.train(train, 1000 if size is None else size)
    except ConfigurationError as error:
        raise SystemExit(f"prepare_text: {error}") from None


def write_symbols(words: Vocabulary, texts: list[str], path: Path) -> dict[str, int]:
    """Write one line of symbols per text; return the numbers of texts, symbols (without eos) and bytes."""
    count = {"texts": 0, "symbols": 0, "bytes": 0}
    with path.open("w", encoding="utf-8") as file:
        for text in filter(None, texts):
            symbols = words.encode(text)
            file.write(" ".join(symbols) + "\n")
            for name, n in (("texts", 1), ("symbols", len(symbols)), ("bytes", len(text.encode()))):
                count[name] += n
    return count


def binarize(splits: dict[str, list[str]], destdir: str, kind: str = "character", size: int | None = None) -> None:
    """Write the splits as symbols and run fairseq-preprocess on them; DESTDIR appears only when all is well.

    Args:
        kind: of the vocabulary.
        size: pieces of a sentencepiece model; None for the default.
    """
    program = shutil.which(
        "fairseq-preprocess", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    )
    if program is None:
        raise SystemExit("prepare_text: fairseq is not installed: run `pip install ve-fairseq` (Python 3.11 or 3.12).")
    for name, texts in splits.items():
        if not any(texts):
            raise SystemExit(f"prepare_text: the {name} split is empty: give more text, or a larger share.")
    words = make_vocabulary(kind, size, splits["train"])
    with replaced_folder(destdir) as folder, tempfile.TemporaryDirectory(dir=folder.parent) as work:
        command = [program, "--only-source", "--destdir", str(folder), "--workers", "1"]
        counts = {}
        for name, texts in splits.items():
            counts[name] = write_symbols(words, texts, Path(work, f"{name}.txt"))
            command += [f"--{name}pref", f"{work}/{name}.txt"]
        if words.symbols() is not None:
            Path(work, "dict.txt").write_text("".join(f"{s} 1\n" for s in words.symbols()), encoding="utf-8")
            command += ["--srcdict", f"{work}/dict.txt"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"prepare_text: fairseq-preprocess failed:\n{done.stderr[-2000:]}")
        vocabulary.save(words, folder, counts)
    for name, count in counts.items():
        print(f"{name}: {count['texts']} texts, {count['symbols']:,} {kind} symbols, {count['bytes']:,} bytes")
    print(f"wrote {destdir}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", help="text files")
    parser.add_argument("--destdir", help="folder for the fairseq data; replaced if it exists")
    parser.add_argument("--split", choices=["share", "document"], default="share", help="how texts go to the splits")
    parser.add_argument("--valid-share", type=float, default=0.05, help="share of the validation split")
    parser.add_argument("--test-share", type=float, default=0.05, help="share of the test split")
    parser.add_argument("--valid", nargs="+", help="files of the validation split (with --test; no other splitting)")
    parser.add_argument("--test", nargs="+", help="files of the test split (with --valid)")
    add_vocabulary_flags(parser)
    parser.add_argument("--decode", action="store_true", help="read symbols from stdin, write text to stdout")
    args = parser.parse_args()
    if args.decode:
        words = vocabulary.decoder(args.vocabulary)
        for line in sys.stdin:
            print(words.decode(line.split()))
        return
    if not args.texts or not args.destdir:
        parser.error("give text files and --destdir")
    missing = [path for path in args.texts + (args.valid or []) + (args.test or []) if not os.path.isfile(path)]
    if missing:
        parser.error(f"{missing[0]} does not exist")
    if bool(args.valid) != bool(args.test):
        parser.error("--valid and --test go together")
    texts = [read(path) for path in args.texts]
    if args.valid:
        held_out = {os.path.realpath(p) for p in args.valid + args.test}
        if held_out & {os.path.realpath(p) for p in args.texts} or len(held_out) < len(args.valid + args.test):
            parser.error("a file must not be in two splits")
        splits = {"train": texts, "valid": [read(p) for p in args.valid], "test": [read(p) for p in args.test]}
    else:
        if not (args.valid_share > 0 and args.test_share > 0 and args.valid_share + args.test_share < 1):
            parser.error("--valid-share and --test-share must be positive and leave something to train on")
        split = split_by_share if args.split == "share" else split_by_document
        splits = split(texts, args.valid_share, args.test_share)
    binarize(splits, args.destdir, args.vocabulary, args.vocabulary_size)


if __name__ == "__main__":
    main()
