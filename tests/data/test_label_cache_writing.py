"""The label cache is whole after any kill, with several writers, and in bounded memory."""

import io
import json
import random
import time
from functools import partial

import numpy as np
import pytest

from fairseq_smt.data.label_cache import files, reader
from fairseq_smt.data.label_cache import writer as writer_module
from fairseq_smt.data.label_cache.codec import STORED
from fairseq_smt.data.label_cache.manifest import Manifest
from fairseq_smt.data.label_cache.reader import LabelCache
from fairseq_smt.data.label_cache.writer import ShardWriter
from tests.support.label_cache import cache, contents, file_of, forked, make_task, refused


def chunks_done(root) -> int:
    """Lines in the journal of the split train; -1 before there is one."""
    journals = list(root.glob("train-*/*.journal"))
    return journals[0].read_text().count("\n") if journals else -1


def test_killed_at_random_it_ends_as_if_it_had_not_been(data, trained, tmp_path, kills):
    flags = ["--splits", "train,valid", "--chunk-positions", 300 if kills < 4 else 100, "--max-tokens", 100]
    cache(data, trained, tmp_path / "whole", *flags)
    chunks = len(json.loads(next((tmp_path / "whole").glob("train-*/*.json")).read_text())["checksums"])
    draws = random.Random()
    for share in range(kills):
        process = forked(cache, data, trained, tmp_path / "killed", *flags)
        after, deadline = draws.uniform(share, share + 0.8) / kills * chunks, time.time() + 100
        while chunks_done(tmp_path / "killed") < after and time.time() < deadline:
            time.sleep(0.001)
        time.sleep(draws.random() * 0.01)
        process.kill()
        process.join()
        assert process.exitcode == -9
        refused("is not finished", lambda: make_task(data, tmp_path / "killed", "train"))
    cache(data, trained, tmp_path / "killed", *flags)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not list(tmp_path.rglob("*.journal")) and not list(tmp_path.rglob("*.tmp"))


def synthetic(folder, blocks=40, length=10, width=8, chunk=4, dtype="float16"):
    """A writer of a shard of made-up labels, and the rows of a block."""
    manifest = Manifest(
        *("valid", "0" * 15 + "1", {}, "2", "3", "4", 10, "none", False, "none", blocks, 2, width // 2, dtype),
        *(0, 1, 0, blocks, blocks * length, chunk),
    )
    offsets = np.arange(blocks + 1) * length
    return ShardWriter(files.part_folder(folder, "valid", "3"), manifest, offsets), offsets


def rows_of(block: int, length=10, width=8) -> np.ndarray:
    return np.random.default_rng(block).standard_normal((length, width)).astype(np.float32)


def write(folder, *, until=None, **sizes) -> None:
    """Write what is pending; stop with KeyboardInterrupt in the middle of a chunk."""
    writer, _ = synthetic(folder, **sizes)
    with writer:
        for chunk in writer.pending():

            def parts(chunk=chunk):
                for block in range(*writer.manifest.chunk(chunk)):
                    if chunk == until and block % 4 == 2:
                        raise KeyboardInterrupt
                    yield rows_of(block)

            writer.write(chunk, parts())
        writer.finish()


@pytest.mark.parametrize("dtype", list(STORED))
def test_a_half_written_chunk_is_written_again(tmp_path, dtype):
    write(tmp_path / "whole", dtype=dtype)
    for until in (0, 3, 9):
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "parts", until=until, dtype=dtype)
        writer, _ = synthetic(tmp_path / "parts", dtype=dtype)
        with writer:
            assert writer.pending() == list(range(until, 10))
    write(tmp_path / "parts", dtype=dtype)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_disk_that_takes_less_than_it_is_given(tmp_path, monkeypatch):
    """A nearly full disk takes a part of a write without an error; the next one fails."""
    write(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stingy = lambda path, mode, buffering=-1: open(path, mode) if buffering else Stingy(path, mode)  # noqa: E731
        patch.setattr(writer_module, "open", stingy, raising=False)
        write(tmp_path / "stingy")
    assert contents(tmp_path / "stingy") == contents(tmp_path / "whole")


class Stingy(io.FileIO):
    """Takes 7 bytes at once."""

    def write(self, content) -> int:
        return super().write(memoryview(content)[:7])


@pytest.mark.parametrize("torn", [b"3", b"3 0123", b"3 0123456789abcdef", b"\0\0\0\n", b"3 0123456789abcdeg\n"])
def test_a_torn_line_of_the_journal_does_not_count(tmp_path, torn):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "parts", until=3)
    with open(file_of(tmp_path / "parts", "journal"), "ab") as journal:
        journal.write(torn)
    writer, _ = synthetic(tmp_path / "parts")
    with writer:
        assert writer.pending() == list(range(3, 10))
    write(tmp_path / "parts")
    write(tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_killed_before_the_manifest_it_begins_anew(tmp_path):
    write(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "parts", until=3)
    file_of(tmp_path / "parts", "json").unlink()
    write(tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_two_processes_on_one_shard_do_not_corrupt_it(data, trained, tmp_path):
    flags = ["--splits", "train", "--chunk-positions", 300]
    both = [forked(cache, data, trained, tmp_path / "both", *flags) for _ in range(2)]
    for process in both:
        process.join()
    assert 0 in [process.exitcode for process in both]
    cache(data, trained, tmp_path / "one", *flags)
    assert contents(tmp_path / "both") == contents(tmp_path / "one")


def peak_of(run) -> float:
    """MiB that a run in a process of its own adds to the peak."""
    import multiprocessing

    def measure(pipe) -> None:
        def now(what: str) -> int:
            return int(open("/proc/self/status").read().split(f"{what}:")[1].split()[0])

        before = now("VmRSS")
        run()
        pipe.send((now("VmHWM") - before) / 1024)

    ours, theirs = multiprocessing.Pipe()
    process = forked(measure, theirs)
    process.join()
    return ours.recv()


def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    """Writing and reading 4 and 64 MiB of labels; what was read is given back after every 2 MiB."""
    monkeypatch.setattr(reader, "KEPT_BYTES", 2 << 20)
    peaks = {}
    for blocks in (256, 4096):
        sizes = dict(blocks=blocks, length=64, width=128, chunk=64)

        def writing(root, sizes=sizes) -> None:
            writer, _ = synthetic(root, **sizes)
            with writer:
                for chunk in writer.pending():
                    parts = (np.ones((64, 128), np.float32) for _ in range(*writer.manifest.chunk(chunk)))
                    writer.write(chunk, parts)
                writer.finish()

        def reading(root, sizes=sizes) -> None:
            labels = LabelCache(root, {"split": "valid", "data": "3"}, np.arange(sizes["blocks"] + 1) * 64)
            for block in range(0, sizes["blocks"], 8):
                labels.collate(list(range(block, block + 8)), 64)

        root = tmp_path / str(blocks)
        peaks[blocks] = [peak_of(partial(run, root)) for run in (writing, reading)]
    for small, large in zip(*peaks.values(), strict=True):
        assert large < small + 8, peaks
