#!/usr/bin/env python3
"""Turn text files into fairseq data at character level.

    python scripts/prepare_text.py --destdir DATA book.txt other.txt            # splits each text by share, 90/5/5
    python scripts/prepare_text.py --destdir DATA --split document *.txt        # whole files go to one split
    python scripts/prepare_text.py --destdir DATA --valid v.txt --test t.txt a.txt b.txt

Every character becomes a symbol: a space `▁`, a newline `⏎`. A text becomes one line of symbols that ends in fairseq's
eos, so that newlines are ordinary symbols and eos ends a document. `--decode` turns symbols back into text.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SPACE, NEWLINE = "▁", "⏎"


def encode(text: str) -> str:
    """Symbols of a text, separated by spaces."""
    return " ".join(
        SPACE if c == " " else NEWLINE if c == "\n" else c for c in text if c == "\n" or not c.isspace() or c == " "
    )


def decode(symbols: str) -> str:
    """The text of space-separated symbols, without fairseq's special ones."""
    plain = (s for s in symbols.split() if s not in ("<s>", "</s>", "<pad>"))
    return "".join(" " if s == SPACE else "\n" if s == NEWLINE else "�" if s == "<unk>" else s for s in plain)


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


def binarize(splits: dict[str, list[str]], destdir: str) -> None:
    """Write the splits as symbols and run fairseq-preprocess on them; DESTDIR appears only when all is well."""
    program = shutil.which(
        "fairseq-preprocess", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    )
    if program is None:
        raise SystemExit("prepare_text: fairseq is not installed: run `pip install ve-fairseq` (Python 3.11 or 3.12).")
    for name, texts in splits.items():
        if not any(texts):
            raise SystemExit(f"prepare_text: the {name} split is empty: give more text, or a larger share.")
    parent = os.path.dirname(os.path.abspath(destdir))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".prepare") as work:
        for name, texts in splits.items():
            lines = "".join(encode(text) + "\n" for text in texts if text)
            Path(work, f"{name}.txt").write_text(lines, encoding="utf-8")
        command = [program, "--only-source", "--destdir", f"{work}/bin", "--workers", "1"]
        for name in splits:
            command += [f"--{name}pref", f"{work}/{name}.txt"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"prepare_text: fairseq-preprocess failed:\n{done.stderr[-2000:]}")
        if os.path.isdir(destdir):
            shutil.rmtree(destdir)
        os.replace(f"{work}/bin", destdir)
    for name, texts in splits.items():
        print(f"{name}: {len(texts)} texts, {sum(map(len, texts)):,} characters")
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
    parser.add_argument("--decode", action="store_true", help="read symbols from stdin, write text to stdout")
    args = parser.parse_args()
    if args.decode:
        for line in sys.stdin:
            print(decode(line))
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
    binarize(splits, args.destdir)


if __name__ == "__main__":
    main()
