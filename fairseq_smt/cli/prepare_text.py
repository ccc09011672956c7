"""Turn text files into fairseq data: characters, bytes or sentencepiece subwords.

    fairseq-smt-prepare-text --destdir DATA book.txt other.txt            # splits each text by share, 90/5/5
    fairseq-smt-prepare-text --destdir DATA --split document *.txt        # whole files go to one split
    fairseq-smt-prepare-text --destdir DATA a.txt b.txt --valid v.txt --test t.txt
    fairseq-smt-prepare-text --destdir DATA --vocabulary sentencepiece --vocabulary-size 2000 *.txt

A text becomes one line of symbols that ends in fairseq's eos, so that newlines are ordinary symbols and eos ends a
document. A space is `▁` and a newline `⏎` (`Ċ` among bytes). Nothing of a text is changed: carriage returns and a byte
order mark are symbols too (`--encoding utf-8-sig` drops the mark). `--vocabulary byte` keeps every byte of any file.

The sentencepiece model is trained on the train split, on 8 MB of a longer one, and stands in DATA as
`sentencepiece.model`. `--decode` turns symbols back into text; give it the same --vocabulary.
"""

import argparse
import sys
from functools import partial

from fairseq_smt.data import vocabulary
from fairseq_smt.data.preparation import Settings, prepare
from fairseq_smt.data.splits import split_by_document, split_by_number, split_by_share
from fairseq_smt.errors import require
from fairseq_smt.terminal import command


def add_vocabulary_flags(parser: argparse.ArgumentParser) -> None:
    """`--vocabulary`, `--vocabulary-size` and `--workers`."""
    parser.add_argument("--vocabulary", choices=vocabulary.KINDS, default="character", help="what a symbol is")
    parser.add_argument("--vocabulary-size", type=int, help="pieces of the sentencepiece model, default 1000")
    parser.add_argument("--workers", type=int, default=1, help="processes; default 1")


def report(counts: dict[str, dict[str, int]], kind: str, destdir: str) -> None:
    """Say what was written."""
    for name, count in counts.items():
        print(f"{name}: {count['texts']} texts, {count['symbols']:,} {kind} symbols, {count['bytes']:,} bytes")
    print(f"wrote {destdir}")


def decode(kind: str) -> None:
    """Lines of symbols on stdin become texts on stdout: a newline stands between two, and at the end on a screen."""
    words, output = vocabulary.decoder(kind), sys.stdout.buffer
    for i, line in enumerate(sys.stdin.buffer):
        output.write(b"\n" * (i > 0) + words.decode_bytes(line.decode(errors="replace").split()))
    if sys.stdout.isatty():
        output.write(b"\n")
    output.flush()


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", help="text files")
    parser.add_argument("--destdir", help="folder for the fairseq data; earlier data is replaced")
    parser.add_argument("--split", choices=["share", "document"], default="share", help="how texts go to the splits")
    parser.add_argument("--valid-share", type=float, default=0.05, help="share of the validation split")
    parser.add_argument("--test-share", type=float, default=0.05, help="share of the test split")
    parser.add_argument(
        "--valid", nargs="+", metavar="FILE", help="files of the validation split, with --test; after the other texts"
    )
    parser.add_argument(
        "--test", nargs="+", metavar="FILE", help="files of the test split, with --valid; after the other texts"
    )
    parser.add_argument("--encoding", help="of the files, as Python names it (latin-1, utf-16, …); default: UTF-8")
    add_vocabulary_flags(parser)
    parser.add_argument("--decode", action="store_true", help="read symbols from stdin, write text to stdout")
    return parser.parse_intermixed_args()


def run(args: argparse.Namespace) -> None:
    """Write the data, or raise what cannot work."""
    held_out = [args.valid or [], args.test or []]
    paths = [*args.texts, *held_out[0], *held_out[1]]
    require(bool(args.destdir), "give --destdir, a folder for the data.")
    require(
        bool(args.texts),
        "give text files to train on"
        + (": name them before --valid and --test, which take all files that follow." if paths else "."),
    )
    require(bool(args.valid) == bool(args.test), "--valid and --test go together: give both or neither.")
    if args.valid:
        divide = partial(split_by_number, numbers=[len(args.texts), *map(len, held_out)])
    else:
        require(
            args.valid_share > 0 and args.test_share > 0 and args.valid_share + args.test_share < 1,
            "--valid-share and --test-share must be positive and leave something to train on.",
        )
        by = split_by_share if args.split == "share" else split_by_document
        divide = partial(by, valid=args.valid_share, test=args.test_share)
    settings = Settings(args.vocabulary, args.vocabulary_size, args.encoding, args.workers)
    report(prepare(paths, divide, args.destdir, settings), args.vocabulary, args.destdir)


def main() -> None:
    with command():
        args = flags()
        decode(args.vocabulary) if args.decode else run(args)


if __name__ == "__main__":
    main()
