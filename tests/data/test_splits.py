"""No text and no images are in two splits, under whatever names."""

import gzip
import os
import shutil
import sys

import numpy as np
import pytest

from fairseq_smt.cli import prepare_pixels, prepare_text
from fairseq_smt.data.splits import Measured
from tests.support.idx import PIXELS, idx

WAYS = {"document": "--split document one.txt {} c.txt", "given": "one.txt --valid {} --test c.txt"}


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Call the command in a folder with some texts, two of them of one size, and other names of the first."""
    monkeypatch.chdir(tmp_path)

    def call(line: str, encoding: str = "utf-8") -> None:
        for name in ("one", "b", "c", "longer"):
            (tmp_path / f"{name}.txt").write_text(f"text {name} " * 9, encoding=encoding)
        (tmp_path / "empty.txt").touch()
        os.symlink("one.txt", "link.txt")
        os.link("one.txt", "hard.txt")
        shutil.copy("one.txt", "copy.txt")
        words = ["prepare", "--destdir", "data", "--encoding", encoding, *line.split()]
        monkeypatch.setattr(sys, "argv", words)
        prepare_text.main()

    return call


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("second", ["one.txt", "./one.txt", "link.txt", "hard.txt", "copy.txt"])
def test_a_text_in_two_splits_is_refused(prepare, tmp_path, second, way, encoding):
    named = f"one.txt and {second} hold the same text and would be in train and valid: leave one out"
    if second == "one.txt":
        named = "one.txt would be in train and valid: name it once"
    with pytest.raises(SystemExit, match=rf"error: {named}\.$"):
        prepare(WAYS[way].format(second), encoding)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "line",
    [
        "one.txt one.txt copy.txt --valid b.txt --test c.txt",  # in one split only
        "one.txt empty.txt --valid b.txt empty.txt --test c.txt empty.txt",
        "one.txt copy.txt",  # each is cut by share
    ],
)
def test_a_text_in_one_split_is_taken(prepare, tmp_path, line, encoding):
    prepare(line, encoding)
    assert (tmp_path / "data").exists()


def test_texts_of_other_sizes_than_those_of_other_splits_are_not_read_again(prepare, monkeypatch):
    monkeypatch.setattr(Measured, "digest", None)
    prepare("one.txt copy.txt --valid b.txt c.txt --test longer.txt")


@pytest.mark.parametrize("second", ["images", "link", "copy", "copy.gz"])
def test_images_in_two_splits_are_refused(tmp_path, monkeypatch, second):
    monkeypatch.chdir(tmp_path)
    for name, content in (("images", idx()), ("copy", idx()), ("copy.gz", gzip.compress(idx()))):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "others").write_bytes(idx(np.flip(PIXELS)))
    os.symlink("images", "link")
    words = ["prepare", "--destdir", "data", "--images", "images", "--test-images"]
    monkeypatch.setattr(sys, "argv", [*words, second])
    with pytest.raises(SystemExit, match=f"error: {second} of --test-images holds the images of --images"):
        prepare_pixels.main()
    monkeypatch.setattr(sys, "argv", [*words, "others"])
    prepare_pixels.main()
