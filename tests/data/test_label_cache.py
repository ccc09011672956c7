"""The label cache is equal to the live teacher, and refused where it does not fit."""

import errno
import json
import os
import random
import shutil

import numpy as np
import pytest
import torch

from fairseq_smt.core.fingerprints import unpack
from fairseq_smt.core.interface import Modules
from fairseq_smt.core.objectives import DaggerMemoryTraining, SupervisedMemoryTraining
from fairseq_smt.data.label_cache.codec import STORED
from fairseq_smt.data.label_cache.files import ShardFiles
from fairseq_smt.data.label_cache.manifest import Manifest, shard_blocks
from fairseq_smt.errors import ConfigurationError
from fairseq_smt.locks import Lock
from tests.support.label_cache import cache, copy_of, file_of, flip, largest_error, load_model, make_task, refused
from tests.support.label_cache import samples as batches_of

PRECISION = {"float32": 2e-5, "float16": 2e-3, "bfloat16": 2e-2, "int8": 3e-2}
"""Largest error of a label of size up to 4; batches of other shapes differ in float32 already."""


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained)


@pytest.fixture(scope="module")
def made(data, trained, tmp_path_factory):
    """A float16 cache of the split valid in two shards."""
    root = tmp_path_factory.mktemp("cache")
    for shard in (0, 1):
        cache(data, trained, root, "--num-shards", 2, "--shard-id", shard, "--chunk-positions", 1000)
    return root


# equal to the live teacher


@pytest.mark.parametrize("dtype", list(STORED))
@pytest.mark.parametrize("mode", ["none", "complete", "complete_doc", "eos"])
@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no-bos"])
def test_labels_and_losses_are_those_of_the_live_teacher(data, trained, model, tmp_path, dtype, mode, bos):
    blocks = ["--sample-break-mode", mode, "--add-bos-token" if bos else "--no-add-bos-token", "--dtype", dtype]
    for shard in (0, 1):
        cache(data, trained, tmp_path, *blocks, "--num-shards", 2, "--shard-id", shard, "--chunk-positions", 3000)
    task = make_task(data, tmp_path, sample_break_mode=mode, add_bos_token=bos)
    found = batches_of(task)
    assert sum(len(sample["id"]) for sample in found) == len(task.datasets["valid"])
    assert largest_error(task, model, found) < PRECISION[dtype]
    batch = task.batch_of(found[0])
    live = Modules(model.rnn, model.teacher, model.future)
    alone = Modules(model.rnn)
    for objective in (DaggerMemoryTraining(), SupervisedMemoryTraining(future_weight=0.0, trunk_weight=0.0)):
        expected = objective(live, task.batch_of({k: v for k, v in found[0].items() if k != "labels"}), update=3)
        torch.testing.assert_close(
            objective(alone, batch, update=3).loss, expected.loss, atol=PRECISION[dtype], rtol=PRECISION[dtype]
        )


def test_workers_give_the_same_batches(data, made):
    one, two = (batches_of(make_task(data, made), workers=n) for n in (0, 2))
    assert len(one) == len(two) > 3
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a["id"], b["id"]) and torch.equal(a["labels"], b["labels"])


def test_data_shards_have_their_own_labels(data, trained, model, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    shutil.copy(data / "dict.txt", second)
    for suffix in ("idx", "bin"):
        shutil.copy(data / f"test.{suffix}", second / f"train.{suffix}")
    both = f"{data}:{second}"
    cache(both, trained, tmp_path / "labels", "--splits", "train,valid")
    for epoch in (1, 2, 3):
        task = make_task(both, tmp_path / "labels", "train", epoch)
        assert largest_error(task, model, batches_of(task, "train")[:3]) < PRECISION["float16"]
        task.load_dataset("valid")
    sizes = [len(make_task(both, tmp_path / "labels", "train", e).datasets["train"]) for e in (1, 2)]
    assert sizes[0] != sizes[1]


def test_more_shards_than_blocks(data, trained, model, tmp_path):
    flags = ["--sample-break-mode", "eos", "--num-shards", 5]
    for shard in range(5):
        cache(data, trained, tmp_path, *flags, "--shard-id", shard)
    task = make_task(data, tmp_path, sample_break_mode="eos")
    assert len(task.datasets["valid"]) < 5
    assert largest_error(task, model, batches_of(task)) < PRECISION["float16"]
    cache(data, trained, tmp_path, "--sample-break-mode", "eos", "--verify")


def test_shards_cover_every_block_once():
    for blocks, shards in ((10, 3), (2, 5), (0, 2), (1000, 7)):
        ends = [shard_blocks(blocks, i, shards) for i in range(shards)]
        assert [b for first, last in ends for b in range(first, last)] == list(range(blocks))


def test_a_curriculum_cuts_labels_with_their_blocks(data, made, model):
    task = make_task(data, made)
    sample = task.truncate(batches_of(task)[0], 5)
    assert sample["labels"].shape[:2] == sample["target"].shape == (16, 5)
    assert largest_error(task, model, [sample]) < PRECISION["float16"]


def test_a_dataset_without_samples_collates_to_nothing(data, made):
    assert make_task(data, made).datasets["valid"].collater([]) == {}


def test_no_pickle_and_plain_numpy_files(data, made):
    manifest = json.loads(file_of(made, "json").read_text())
    labels = np.load(file_of(made, "labels.npy"), mmap_mode="r", allow_pickle=False)
    index = np.load(file_of(made, "index.npy"), allow_pickle=False)
    assert labels.shape == (manifest["positions"], 32) and labels.dtype == np.float16
    assert index[-1] == manifest["positions"] and set(np.diff(index)) <= {33, manifest["positions"] % 33}


# what does not fit is refused


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(tokens_per_sample=64), "made with --tokens-per-sample 32, not 64"),
        (dict(sample_break_mode="complete"), "made with --sample-break-mode none, not complete"),
        (dict(add_bos_token=False), "made with --add-bos-token True, not False"),
        (dict(shorten_method="truncate"), "made with --shorten-method none, not truncate"),
        (dict(shorten_method="random_crop"), "replace --shorten-method random_crop"),
        (dict(split="test"), "holds no labels of split test"),
    ],
    ids=str,
)
def test_other_blocks(data, made, options, sentence):
    refused(sentence, lambda: make_task(data, made, **options))


def test_other_data_and_other_dictionary(data, trained, made, tmp_path):
    other = copy_of(data, tmp_path / "data")
    make_task(other, made)  # the place does not matter
    (other / "dict.txt").write_text((other / "dict.txt").read_text().replace("e ", "é ", 1))
    refused("a dictionary with fingerprint", lambda: make_task(other, made))
    shutil.copy(data / "dict.txt", other)
    flip(other / "valid.bin", 100)
    refused("holds labels of split valid for other data", lambda: make_task(other, made))
    refused("holds labels of split valid for other data", lambda: cache(other, trained, made, "--verify"))


def test_a_byte_that_is_not_sampled_is_found_by_verify(data, trained, made, tmp_path, monkeypatch):
    from fairseq_smt.data.label_cache import fingerprint

    monkeypatch.setattr(fingerprint, "SAMPLE_BYTES", 8)
    other, root = copy_of(data, tmp_path / "data"), tmp_path / "labels"
    cache(data, trained, root)
    flip(other / "valid.bin", 100)
    make_task(other, root)
    refused("every byte of .bin", lambda: cache(other, trained, root, "--verify"))
    refused("every byte of .bin", lambda: cache(other, trained, root))


def test_fingerprints_depend_on_the_index_and_on_what_they_read_of_the_text(tmp_path):
    """The quick one reads 64 pieces of 4 KB: of 1 MB the ends, and a byte in 4."""
    from fairseq_smt.data.label_cache.fingerprint import full_fingerprint, quick_fingerprint

    prefix, size = tmp_path / "train", 1 << 20
    index, text = tmp_path / "train.idx", tmp_path / "train.bin"
    index.write_bytes(bytes(2000))
    text.write_bytes(bytes(size))
    first = {f: f([prefix]) for f in (quick_fingerprint, full_fingerprint)}
    for path, byte, quick, full in (
        (index, 1999, True, False),
        (text, 0, True, True),
        (text, size - 1, True, True),
        (text, (size - 4096) * 31 // 63 + 4095, True, True),
        (text, (size - 4096) * 31 // 63 + 4096, False, True),
    ):
        flip(path, byte)
        assert [first[f] != f([prefix]) for f in first] == [quick, full], (path, byte)
        flip(path, byte)
    text.write_bytes(bytes(size + 1))
    assert [first[f] != f([prefix]) for f in first] == [True, True]


def test_another_teacher(data, trained, made, model, tmp_path):
    from fairseq_smt.core.teacher import fingerprint
    from fairseq_smt.criterions.objective import check_labels

    labels = make_task(data, made).label_cache
    check_labels(model, labels)
    kept = model.teacher_fingerprint.clone()
    model.teacher_fingerprint.fill_(5)
    refused(f"of another teacher ({fingerprint(model.teacher):016x}) than", lambda: check_labels(model, labels))
    model.teacher_fingerprint.fill_(0)
    refused("one that was never trained: add --memory-head none", lambda: check_labels(model, labels))
    model.teacher_fingerprint.copy_(kept)
    model.teacher.requires_grad_(True)
    refused("add --memory-head none, or --train rnn", lambda: check_labels(model, labels))
    model.teacher.requires_grad_(False)

    def altered(change) -> None:
        state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
        change(state)
        torch.save(state, tmp_path / "checkpoint_last.pt")

    altered(lambda s: s["model"]["teacher.language_model_head.bias"].add_(1))
    refused("is not the one that criterion smt left there", lambda: cache(data, tmp_path, made))
    altered(lambda s: s["model"]["teacher_fingerprint"].zero_())
    refused("was never trained", lambda: cache(data, tmp_path, made))
    altered(lambda s: [s["model"].pop(n) for n in list(s["model"]) if n.startswith("teacher.")])
    refused("holds no teacher", lambda: cache(data, tmp_path, made))
    altered(lambda s: s["cfg"]["model"].__setitem__("trunk_heads", 1))  # the weights are the same
    refused("configured as trunk_heads 2, not trunk_heads 1", lambda: cache(data, tmp_path, made, "--num-shards", 2))
    (tmp_path / "checkpoint_last.pt").unlink()
    refused("does not exist: name one by --path", lambda: cache(data, tmp_path, made))


def test_a_student_of_other_sizes_and_one_that_has_met_no_teacher(data, made):
    from fairseq_smt.criterions.objective import check_labels
    from fairseq_smt.models.presets import PRESETS
    from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig

    task = make_task(data, made)
    tiny = PRESETS["smt_lm_tiny"] | dict(memory_head="none")
    wide = SmtLanguageModel(SmtLanguageModelConfig(**tiny | dict(memory_width=8)), task.dictionary)
    refused("give --memory-width 16", lambda: check_labels(wide, task.label_cache))
    student = SmtLanguageModel(SmtLanguageModelConfig(**tiny | dict(cell="gru")), task.dictionary)
    check_labels(student, task.label_cache)
    assert unpack(student.state_dict()["teacher_fingerprint"]) == task.label_cache.teacher != 0


def test_shards_or_splits_of_different_teachers(data, trained, made, tmp_path):
    root = copy_of(made, tmp_path / "labels")
    path = file_of(root, "json", 1)
    manifest = Manifest.load(path)
    manifest.teacher = "0" * 15 + "7"
    manifest.save(path)
    refused(f"a teacher with fingerprint {manifest.teacher}, not", lambda: make_task(data, root))
    root = copy_of(made, tmp_path / "splits")
    cache(data, trained, root, "--splits", "test")
    path = next(root.glob("test-*/*.json"))
    manifest = Manifest.load(path)
    manifest.teacher = "0" * 15 + "7"
    manifest.save(path)
    refused("are of another teacher than those in", lambda: make_task(data, root).load_dataset("test"))


def test_other_flags_than_those_begun_with(data, trained, made):
    two = ["--num-shards", 2]
    refused("made with --dtype float16, not int8", lambda: cache(data, trained, made, *two, "--dtype", "int8"))
    refused(
        "made with --tokens-per-sample 32, not 16", lambda: cache(data, trained, made, *two, "--tokens-per-sample", 16)
    )
    refused("holds shards of --num-shards 2, not 1", lambda: cache(data, trained, made))
    refused("--shard-id must be 0 to 1", lambda: cache(data, trained, made, *two, "--shard-id", 2))
    refused("--dtype float8 is unknown", lambda: cache(data, trained, made, "--dtype", "float8"))
    refused("random_crop", lambda: cache(data, trained, made, *two, "--shorten-method", "random_crop"))
    refused("no split 'absent'", lambda: cache(data, trained, made, "--splits", "absent"))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda root: os.truncate(file_of(root, "labels.npy", 1), 5000), "it is truncated"),
        (lambda root: file_of(root, "labels.npy").unlink(), "has 0 bytes instead of"),
        (lambda root: flip(file_of(root, "labels.npy"), 20), "has a damaged header"),
        (lambda root: flip(file_of(root, "index.npy", 1), 200), "is not the block index of this data"),
        (lambda root: flip(file_of(root, "json"), 90), "manifest of a label cache, or damaged|match its own checksum"),
        (lambda root: os.truncate(file_of(root, "json"), 50), "manifest of a label cache, or damaged"),
        (lambda root: file_of(root, "json", 1).unlink(), "shard 1 of 2 is missing"),
        (lambda root: shutil.rmtree(root), "does not exist: make it with fairseq-smt-cache-labels"),
    ],
    ids=["truncated", "absent", "header", "index", "manifest", "half a manifest", "shard", "folder"],
)
def test_damaged_files(data, made, tmp_path, damage, sentence):
    root = copy_of(made, tmp_path / "labels")
    damage(root)
    with pytest.raises(ConfigurationError, match=sentence):
        make_task(data, root)


def test_every_flipped_bit_is_found_by_verify(data, trained, made, tmp_path):
    cache(data, trained, made, "--verify")
    root = copy_of(made, tmp_path / "labels")
    labels = file_of(root, "labels.npy", 1)
    for byte in random.Random(1).sample(range(128, labels.stat().st_size), 10):
        flip(labels, byte)
        refused("differs from its checksum", lambda: cache(data, trained, root, "--verify"))
        flip(labels, byte)
    cache(data, trained, root, "--verify")


def test_a_flipped_bit_in_a_scale_is_found_by_verify(data, trained, tmp_path):
    cache(data, trained, tmp_path, "--dtype", "int8")
    flip(file_of(tmp_path, "scales.npy"), 2000)
    refused("differs from its checksum", lambda: cache(data, trained, tmp_path, "--verify"))


def test_a_folder_that_cannot_be_written(data, trained, tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below", "/proc/labels"):
        refused(f"--label-cache {root} ", lambda root=root: cache(data, trained, root))


def test_a_full_disk(data, trained, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        refused("the labels need 0.53 MB", lambda: cache(data, trained, tmp_path / "labels"))
        assert not list((tmp_path / "labels").iterdir())
    with monkeypatch.context() as patch:  # the disk fills up while labels are written
        whole, left = os.fsync, [6]

        def fsync(file):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            whole(file)

        patch.setattr(os, "fsync", fsync)
        refused("is full: free some space", lambda: cache(data, trained, tmp_path / "labels"))
    cache(data, trained, tmp_path / "labels")
    cache(data, trained, tmp_path / "labels", "--verify")


def test_a_device_without_space(data, trained, tmp_path):
    """/dev/full answers every write as a full disk does."""
    cache(data, trained, tmp_path / "whole")
    folder = tmp_path / "labels" / next((tmp_path / "whole").iterdir()).name
    folder.mkdir(parents=True)
    (folder / "shard-0-of-1.labels.npy").symlink_to("/dev/full")
    refused("is full: free some space", lambda: cache(data, trained, tmp_path / "labels"))


def test_the_second_process_says_who_holds_the_shard(data, trained, tmp_path, made):
    folder = next(made.iterdir())
    with Lock(ShardFiles(folder, 0, 2).lock, ""):
        refused(f"process {os.getpid()} of host", lambda: cache(data, trained, made, "--num-shards", 2))
    cache(data, trained, made, "--num-shards", 2)
