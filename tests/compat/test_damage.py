"""Damaged and foreign files are refused by name before anything is done with them."""

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder
from torch.multiprocessing import ProcessRaisedException

from fairseq_smt.compat.checkpoints import load_checkpoint_to_cpu
from fairseq_smt.data.binarized import check_binarized
from fairseq_smt.errors import ConfigurationError, find_sentence
from tests.support.label_cache import copy_of, flip, make_task, refused


@pytest.mark.parametrize("kept", [0, 1, 1000, -2, -1])
def test_truncated_bin(data, tmp_path, kept):
    folder = copy_of(data, tmp_path / "data")
    path = folder / "valid.bin"
    path.write_bytes(path.read_bytes()[:kept])
    refused(f"{path} has", lambda: make_task(folder))


@pytest.mark.parametrize("kept", [0, 5, 12, 20, 25, 30, -1])
def test_truncated_idx(data, tmp_path, kept):
    folder = copy_of(data, tmp_path / "data")
    path = folder / "valid.idx"
    path.write_bytes(path.read_bytes()[:kept])
    refused(f"{path} is damaged", lambda: make_task(folder))


@pytest.mark.parametrize("byte", [0, 9, 17, 18, 26, 36])
def test_garbled_idx(data, tmp_path, byte):
    """Magic, version, dtype, number of texts, a length, a pointer."""
    folder = copy_of(data, tmp_path / "data")
    flip(folder / "valid.idx", byte)
    refused(str(folder), lambda: make_task(folder))


def test_idx_without_text(data, tmp_path):
    folder = copy_of(data, tmp_path / "data")
    index = folder / "valid.idx"
    index.write_bytes(index.read_bytes()[:18] + bytes(8))
    refused(f"{index} lists no text", lambda: make_task(folder))


def test_whole_data_and_other_formats_pass(data, tmp_path):
    check_binarized(str(data), "train", combine=True)
    check_binarized(str(data), "absent", combine=False)
    (tmp_path / "old.idx").write_bytes(b"TNTIDX\x00\x00 and whatever fairseq reads behind it")
    (tmp_path / "old.bin").touch()
    check_binarized(str(tmp_path), "old", combine=False)


def test_damage_in_a_second_train_file_is_found(data, tmp_path):
    folder = copy_of(data, tmp_path / "data")
    for suffix in ("bin", "idx"):
        (folder / f"train1.{suffix}").write_bytes((folder / f"train.{suffix}").read_bytes()[:-1])
    refused("train1.idx is damaged", lambda: make_task(folder, split="train"))


def test_symbols_that_the_dictionary_lacks(data, tmp_path):
    folder = copy_of(data, tmp_path / "data")
    path = folder / "valid.bin"
    path.write_bytes(np.full(path.stat().st_size // 2, 60000, np.uint16).tobytes())
    task = make_task(folder)
    refused("block 0 of DATA holds symbol 60000, dict.txt has", lambda: task.datasets["valid"][0])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "has no symbols"),
        (b"\xff\xfe\x00", "not a dictionary of fairseq, or damaged"),
        (b"a\nb\n", "not a dictionary of fairseq, or damaged"),
        (b"a 1\na 2\n", "not a dictionary of fairseq, or damaged"),
    ],
    ids=["empty", "no text", "no counts", "twice the same"],
)
def test_bad_dictionaries(data, tmp_path, content, sentence):
    folder = copy_of(data, tmp_path / "data")
    (folder / "dict.txt").write_bytes(content)
    refused(f"{folder / 'dict.txt'} {'is ' if 'not' in sentence else ''}{sentence}", lambda: make_task(folder))


CONTENTS = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "one byte short": lambda whole: whole[:-1],
    "one bit flipped": lambda whole: whole[:200000] + bytes([whole[200000] ^ 16]) + whole[200001:],
    "garbage": lambda whole: bytes(range(256)) * 20,
    "text": lambda whole: b"hello\n",
}


@pytest.mark.parametrize("damage", CONTENTS.values(), ids=CONTENTS.keys())
def test_damaged_checkpoints(trained, tmp_path, damage):
    for name, remedy in (("checkpoint_last.pt", "remove it, or copy an earlier"), ("a.pt", "name another one")):
        path = tmp_path / name
        path.write_bytes(damage((trained / "checkpoint_last.pt").read_bytes()))
        with pytest.raises(ConfigurationError) as caught:
            load_checkpoint_to_cpu(str(path))
        assert str(path) in str(caught.value) and remedy in str(caught.value)


def test_files_that_are_no_checkpoint(trained, tmp_path):
    state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
    path = tmp_path / "a.pt"
    without = {name: value for name, value in state.items() if name != "model"}
    for content in ({"a": 1}, [1, 2], torch.ones(3), state["model"], without, state | {"cfg": None}):
        torch.save(content, path)
        refused(str(path), lambda: load_checkpoint_to_cpu(str(path)))
    refused("cannot be read", lambda: load_checkpoint_to_cpu(str(tmp_path)))
    refused("cannot be read", lambda: load_checkpoint_to_cpu(str(tmp_path / "absent.pt")))


def test_whole_checkpoints_are_read(trained):
    assert "model" in load_checkpoint_to_cpu(str(trained / "checkpoint_best.pt"))


def test_the_sentence_is_found_wherever_it_was_raised():
    sentence = "it is damaged: make it anew."
    trace = (
        f'Traceback (most recent call last):\n  File "x.py"\nfairseq_smt.core.errors.ConfigurationError: {sentence}\n'
    )
    wrapped = Exception("Cannot load model parameters")
    wrapped.__context__ = ConfigurationError(sentence)
    worker = ConfigurationError(f"Caught ConfigurationError in DataLoader worker process 0.\nOriginal {trace}")
    spawned = ProcessRaisedException(f"\n\n-- Process 1 terminated with the following error:\n{trace}", 1, 7)
    for error in (ConfigurationError(sentence), wrapped, worker, spawned):
        assert find_sentence(error) == sentence
    assert find_sentence(ValueError("something else")) is None


@pytest.mark.parametrize(
    ("texts", "options", "sentence"),
    [
        (
            ["a b c " * 40],
            dict(sample_break_mode="eos"),
            "1 block of split valid: replace --sample-break-mode eos, ",
        ),
        (["a b c"], dict(sample_break_mode="eos"), "of 1 block of split valid: give more data, or add"),
        (
            ["a b c " * 40],
            dict(shorten_method="random_crop"),
            "1 block of split valid: remove --shorten-method rand",
        ),
        (["a b c", "b"], {}, "of 1 block of split valid: give more data or shorter blocks, or add --required-"),
    ],
    ids=["one line", "one short line", "cropped", "few words"],
)
def test_too_few_blocks_for_a_batch(tmp_path, texts, options, sentence):
    dictionary = Dictionary()
    builder = MMapIndexedDatasetBuilder(str(tmp_path / "valid.bin"), dtype=np.uint16)
    for text in texts:
        builder.add_item(dictionary.encode_line(text, add_if_not_exist=True))
    builder.finalize(str(tmp_path / "valid.idx"))
    dictionary.save(str(tmp_path / "dict.txt"))
    task = make_task(tmp_path, tokens_per_sample=8, **options)
    multiple = dict(max_sentences=8, required_batch_size_multiple=8)
    refused(sentence, lambda: task.get_batch_iterator(task.datasets["valid"], **multiple))
