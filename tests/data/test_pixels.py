"""Images as data: IDX files, pooling, grey levels, and from the digits to completed halves."""

import gzip
import importlib
import json
import sys

import numpy as np
import pytest
import torch

from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.data.pixels import PixelFormat, pool, quantise, read_idx
from tests.support.commands import ROOT, fairseq, run
from tests.support.idx import PIXELS, idx


def test_an_idx_file_plain_and_gzipped(tmp_path):
    for name, content in (("plain", idx()), ("gzipped", gzip.compress(idx()))):
        (tmp_path / name).write_bytes(content)
        assert (read_idx(tmp_path / name) == PIXELS).all()


@pytest.mark.parametrize(
    "content, sentence",
    [
        (idx()[:-1], "says it has 20 × 4 × 6 pixels and is truncated"),
        (idx() + b"\0", "is longer than that"),
        (idx()[:10], "truncated in its header"),
        (b"PK" + idx(), "not an IDX file"),
        (b"", "not an IDX file"),
        (idx(np.zeros(20, np.uint8)), "holds labels"),
        (idx(kind=13), "no images of bytes"),
        (gzip.compress(idx())[:-20], "damaged or truncated gzip file"),
        (b"\x1f\x8b" + idx(), "damaged or truncated gzip file"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_whole_idx_file_ends_in_a_sentence(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"file .*{sentence}"):
        read_idx(tmp_path / "file")


def test_pooling_and_levels_equal_loops():
    found = pool(PIXELS, 2)
    for n, y, x in np.ndindex(20, 2, 3):
        square = [float(PIXELS[n, 2 * y + i, 2 * x + j]) for i in (0, 1) for j in (0, 1)]
        assert found[n, y, x] == sum(square) / 4
    levels = quantise(found, 255, 5)
    greys = [255 * i / 4 for i in range(5)]
    for value, level in zip(found.flat, levels.flat, strict=True):
        assert abs(value - greys[level]) == min(abs(value - grey) for grey in greys)
    assert quantise(np.array([0, 255]), 255, 2).tolist() == [0, 1]
    with pytest.raises(ConfigurationError, match="--downsample 3 does not fit"):
        pool(PIXELS, 3)
    with pytest.raises(ConfigurationError, match="--levels must be 2 to 256"):
        quantise(PIXELS, 255, 1)


@pytest.fixture
def script(monkeypatch):
    """Run a command's `main` in this process."""

    def call(name: str, *flags: object) -> None:
        monkeypatch.setattr(sys, "argv", [f"fairseq-smt-{name.replace('_', '-')}", *map(str, flags)])
        importlib.import_module(f"fairseq_smt.cli.{name}").main()

    return call


def test_every_image_is_a_block_that_starts_alike_and_ends_in_a_pixel(tmp_path, script, capsys):
    """MNIST by files: pooled, 3 levels; the blocks are the images, with no symbol of another one."""
    for name, images in (("train", PIXELS), ("test", PIXELS[::-1])):
        (tmp_path / name).write_bytes(gzip.compress(idx(images)))
    data = tmp_path / "data"
    flags = ["--images", tmp_path / "train", "--test-images", tmp_path / "test", "--downsample", 2, "--levels", 3]
    script("prepare_pixels", "--destdir", data, *flags)
    printed = capsys.readouterr().out
    assert "train: 18 images, valid: 2 images, test: 20 images" in printed and "--tokens-per-sample 6" in printed
    assert PixelFormat.load(data) == PixelFormat(2, 3, 3)
    from fairseq.data import Dictionary, TokenBlockDataset, data_utils

    dictionary = Dictionary.load(str(data / "dict.txt"))
    for split, images in {"train": PIXELS[:18], "valid": PIXELS[18:], "test": PIXELS[::-1]}.items():
        lines = data_utils.load_indexed_dataset(str(data / split), dictionary)
        special = {"pad": dictionary.pad(), "eos": dictionary.eos()}
        blocks = TokenBlockDataset(lines, lines.sizes, 6, **special, break_mode="eos", include_targets=True)
        assert len(blocks) == len(images)
        for block, image in zip(blocks, quantise(pool(images, 2), 255, 3), strict=False):
            symbols = [dictionary.index(str(level)) for level in image.flat]
            source, target, _ = block
            assert target.tolist() == symbols and source.tolist() == [dictionary.eos(), *symbols[:-1]]


def items_of(data, split: str) -> np.ndarray:
    from fairseq.data import Dictionary, data_utils

    dictionary = Dictionary.load(str(data / "dict.txt"))
    lines = data_utils.load_indexed_dataset(str(data / split), dictionary)
    return np.array([[dictionary[symbol] for symbol in line] for line in lines])


@pytest.mark.parametrize("seed", [None, 3])
def test_a_class_follows_the_pixels_which_all_have_one_order(tmp_path, script, capsys, seed):
    labels = np.arange(20, dtype=np.uint8) % 7
    for name, content in (("train", PIXELS), ("test", PIXELS[:5]), ("labels", labels), ("test-labels", labels[:5])):
        (tmp_path / name).write_bytes(idx(content))
    flags = ["--classes"] if seed is None else ["--classes", "--permute", seed]
    for source in ("images", "labels"):
        flags += [f"--{source}", tmp_path / source.replace("images", "train")]
        flags += [f"--test-{source}", tmp_path / f"test-{source}".removesuffix("-images")]
    script("prepare_pixels", "--destdir", tmp_path / "data", *flags)
    assert "--tokens-per-sample 25 --ask last" in capsys.readouterr().out
    form = PixelFormat.load(tmp_path / "data")
    assert form == PixelFormat(4, 6, 4, 7, seed) and form.length == 25
    order = form.order().tolist()
    assert sorted(order) == list(range(24)) and (order == list(range(24))) == (seed is None)
    for split, part in {"train": slice(18), "valid": slice(18, 20), "test": slice(5)}.items():
        found = items_of(tmp_path / "data", split)
        assert len(found) == len(PIXELS[part])
        for item, image, label in zip(found, quantise(PIXELS[part], 255, 4), labels[part], strict=True):
            for place, symbol in zip(order, item[:-1], strict=True):
                assert symbol == str(image[place // 6, place % 6])
            assert item[-1] == f"class-{label}"


def test_digits_bring_their_own_classes(tmp_path, script):
    from sklearn.datasets import load_digits

    script("prepare_pixels", "--destdir", tmp_path / "data", "--classes")
    assert items_of(tmp_path / "data", "test")[:, -1].tolist() == [f"class-{y}" for y in load_digits().target[-180:]]


def test_a_seed_gives_the_same_order_everywhere():
    """The order is not written down: that of a seed must not change."""
    assert PixelFormat(2, 4, 2, permutation=1).order().tolist() == [7, 2, 1, 6, 0, 4, 3, 5]


def test_digits_are_prepared_trained_on_and_completed(tmp_path, script):
    data, output = tmp_path / "data", tmp_path / "out" / "halves.png"
    run("python", ROOT / "scripts/prepare_pixels.py", "--destdir", data, "--levels", 3)
    blocks = ["--task", "smt_lm", "--sample-break-mode", "eos", "--tokens-per-sample", 64]
    train = ["--arch", "smt_lm_tiny", "--batch-size", 16, "--optimizer", "adam", "--lr", "0.008", "--cpu"]
    train += ["--max-update", 5, "--disable-validation"]
    fairseq("train", data, *blocks, *train, "--criterion", "smt", "--save-dir", tmp_path / "smt")
    alone = ["--memory-head", "none", "--criterion", "cross_entropy"]
    fairseq("train", data, *blocks, *train, *alone, "--save-dir", tmp_path / "bptt")
    paths = [tmp_path / name / "checkpoint_last.pt" for name in ("smt", "bptt")]
    complete = [data, "--path", *paths, "--cpu", "--output", output]
    printed = run("python", ROOT / "scripts/complete_pixels.py", *complete, "--images", 4, "--samples", 2)
    report = json.loads(output.with_suffix(".json").read_text())["checkpoints"]
    assert output.read_bytes().startswith(b"\x89PNG") and "| all |" in printed
    assert set(report) == {"smt", "bptt"} and "ceiling_bits_by_row" not in report["bptt"]
    for found in report.values():
        assert len(found["rnn_bits_by_row"]) == 8 and found["images"] == 180
        assert np.mean(found["rnn_bits_by_row"]) == pytest.approx(found["rnn_bits_per_pixel"])
    scored = fairseq("eval-lm", data, *blocks, "--path", paths[0], "--gen-subset", "test", "--cpu")
    assert f"Loss (base 2): {report['smt']['rnn_bits_per_pixel']:.4f}" in scored and "11,520 tokens" in scored
    with pytest.raises(ConfigurationError, match="--shown-rows must be 0 to 7"):
        script("complete_pixels", *complete, "--shown-rows", 8)
    script("prepare_pixels", "--destdir", tmp_path / "other", "--levels", 3, "--downsample", 2)
    with pytest.raises(ConfigurationError, match=r"blocks of 64 tokens, images of .*other have 16 pixels \(4 × 4\)"):
        script("complete_pixels", tmp_path / "other", *complete[1:])


def test_bad_input_of_the_script_ends_in_a_sentence(tmp_path, script, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").write_bytes(idx(PIXELS[:2]))
    (tmp_path / "other").write_bytes(idx(PIXELS[:, :2]))
    (tmp_path / "images").write_bytes(idx())
    (tmp_path / "labels").write_bytes(idx(np.zeros(19, np.uint8)))
    for flags, sentence in [
        (["--images", "images", "--classes"], "--classes needs the labels of images: add --labels"),
        (["--images", "images", "--labels", "labels"], "--labels goes with --classes"),
        (["--classes", "--labels", "labels"], "--labels goes with --images"),
        (["--images", "images", "--classes", "--labels", "labels"], "labels has 19 labels for the 20 images of images"),
        (["--images", "images", "--classes", "--labels", "images"], "images holds images: name a file of labels"),
        (
            ["--images", "images", "--classes", "--labels", "labels", "--test-images", "images"],
            "--classes needs the labels of images: add --test-labels",
        ),
        (["--permute", "-1"], "--permute must be 0 to"),
        (["--images", "small"], "split is empty"),
        (["--images", "small", "--test-images", "other"], "images of another size"),
        (["--test-images", "other"], "--test-images goes with --images"),
        (["--valid-share", "0"], "--valid-share must be positive"),
        (["--valid-share", "0.5", "--test-share", "0.5"], "leave nothing to train on"),
        (["--images", "absent"], "absent cannot be read"),
    ]:
        with pytest.raises(SystemExit, match=sentence):
            script("prepare_pixels", "--destdir", "data", *flags)
    with pytest.raises(SystemExit, match="^fairseq-smt-prepare-pixels: error: --destdir small is a file"):
        script("prepare_pixels", "--destdir", "small")
    assert not (tmp_path / "data").exists()
    with pytest.raises(ConfigurationError, match="must be a folder written by fairseq-smt-prepare-pixels"):
        PixelFormat.load(tmp_path)
    (tmp_path / "pixels.json").write_text("{")
    with pytest.raises(ConfigurationError, match="pixels.json is damaged"):
        PixelFormat.load(tmp_path)


def test_generation_keeps_to_the_allowed_tokens():
    torch.manual_seed(0)
    rnn = RecurrentLanguageModel(8, RnnConfig(2, 4, cell_hidden=16))
    allowed = torch.tensor([0, 1, 0, 0, 1, 0, 0, 0]).bool()
    prompt = torch.zeros(3, 1, dtype=torch.long)
    for temperature in (0, 2.0):
        found = rnn.generate(prompt, 50, temperature=temperature, allowed=allowed)
        assert allowed[found].all() and found.shape == (3, 50)
