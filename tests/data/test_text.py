"""Files that are no text are told for what they are, with the command that helps."""

import bz2
import gzip
import io
import lzma
import os
import shlex
import shutil
import subprocess
import zipfile

import pytest

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.data.pixels import read_idx
from fairseq_smt.data.preparation import Settings, prepare
from fairseq_smt.data.splits import split_by_document, split_by_number
from fairseq_smt.data.text import COMPRESSED, Part

TEXT = b"a text " * 99


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inside.txt", content)
    return file.getvalue()


def zstandard(content: bytes) -> bytes:
    """A frame that holds the content as it is, in a block of fewer bytes than 2^21; Python has no zstandard."""
    size = len(content).to_bytes(4, "little")
    return b"\x28\xb5\x2f\xfd\xa0" + size + (len(content) << 3 | 1).to_bytes(3, "little") + content


WRITERS = {
    "gzip": (gzip.compress, "gz", "gunzip -k"),
    "zstandard": (zstandard, "zst", "unzstd"),
    "xz": (lzma.compress, "xz", "unxz -k"),
    "bzip2": (bz2.compress, "bz2", "bunzip2 -k"),
    "zip": (zipped, "zip", "unzip"),
}


@pytest.mark.parametrize("kind, encoding", [("character", None), ("character", "latin-1"), ("sentencepiece", "utf-16")])
@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_compressed_text_is_refused_with_the_command_for_it(tmp_path, monkeypatch, writer, place, kind, encoding):
    compress, suffix, command = WRITERS[writer]
    monkeypatch.chdir(tmp_path)
    paths = ["a.txt", "b.txt", "c.txt"]
    for path in paths:
        (tmp_path / path).write_bytes(path.encode() * 99)
    paths[place] += f".{suffix}"
    (tmp_path / paths[place]).write_bytes(compress(TEXT))
    for divide in (lambda texts: split_by_number(texts, [1, 1, 1]), lambda texts: split_by_document(texts, 0.1, 0.1)):
        with pytest.raises(ConfigurationError) as caught:
            prepare(paths, divide, "data", Settings(kind, encoding=encoding))
        sentence = f"{paths[place]} is compressed by {writer}: decompress it first, by {command} {paths[place]}."
        assert str(caught.value) == sentence and not (tmp_path / "data").exists()
    prepare(paths, lambda texts: split_by_number(texts, [1, 1, 1]), "data", Settings("byte"))


@pytest.mark.parametrize("name", ["text.{}", "my {} text"])
@pytest.mark.parametrize("writer", WRITERS)
def test_the_command_gives_the_text_whatever_the_name(tmp_path, monkeypatch, writer, name):
    compress, suffix, _ = WRITERS[writer]
    monkeypatch.chdir(tmp_path)
    path = name.format(suffix)
    (tmp_path / path).write_bytes(compress(TEXT))
    with pytest.raises(ConfigurationError) as caught:
        prepare([path], None, "data", Settings())
    command = str(caught.value).split("first, by ")[1].rstrip(".")
    if shutil.which(shlex.split(command)[0]) is None:
        pytest.skip(f"{command} is not here")
    subprocess.run(command, shell=True, check=True, timeout=60)
    assert len(os.listdir()) == 2 and TEXT in [(tmp_path / found).read_bytes() for found in os.listdir()]


@pytest.mark.parametrize("text", ["BZh9 is a mark", "PK", "PK and others", "BZh", "\x1f\x8b", "(\xb5/\xfd", "\xfd7zX"])
def test_a_text_that_begins_much_like_a_compressed_one_is_text(text):
    assert not COMPRESSED.match(text.encode())


@pytest.mark.parametrize("writer", [name for name in WRITERS if name != "gzip"])
def test_compressed_images_are_told_too(tmp_path, writer):
    (tmp_path / "images").write_bytes(WRITERS[writer][0](TEXT))
    with pytest.raises(ConfigurationError, match=f"images is compressed by {writer}: decompress it first, by "):
        read_idx(tmp_path / "images")


def test_what_cannot_be_read_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    reading, writing = os.pipe()
    try:
        for path in ("pipe", f"/dev/fd/{reading}", "/dev/null"):
            with pytest.raises(
                ConfigurationError, match=f"^{path} is no ordinary file and cannot be read twice: write"
            ):
                Part.whole(path)
    finally:
        os.close(reading)
        os.close(writing)
    with pytest.raises(ConfigurationError, match="^standard input cannot be read twice: write it to a file first"):
        Part.whole("-")
    (tmp_path / "-").write_text("a file of this name")
    assert Part.whole("-").size == 19
