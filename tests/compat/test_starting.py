"""What is settled before a run's first update: places to write, the lock, and whether there is work left."""

import errno
import os
from types import SimpleNamespace

import fairseq  # noqa: F401
import pytest
import torch

import fairseq_smt
from fairseq_smt.errors import ConfigurationError, find_sentence
from fairseq_smt.locks import Lock
from tests.support.label_cache import refused

fairseq_smt.register()
from fairseq_smt.console import starting  # noqa: E402


def settings(folder, **changes) -> SimpleNamespace:
    """The part of a trainer that is asked."""
    given = dict(tensorboard_logdir=None, log_file=None, no_save=False, max_update=0, max_epoch=0, stop_time_hours=0)
    given |= changes
    group = SimpleNamespace(save_dir=str(folder), **given)
    model = torch.nn.Linear(2, 2)
    return SimpleNamespace(
        cfg=SimpleNamespace(common=group, checkpoint=group, optimization=group),
        _model=model,
        is_data_parallel_master=True,
        data_parallel_world_size=1,
        get_num_updates=lambda: changes.get("updates", 3),
    )


@pytest.fixture(autouse=True)
def released():
    yield
    starting._release_lock()


def test_a_folder_is_made_and_nothing_is_left_in_it(tmp_path):
    starting.check_folder(str(tmp_path / "a" / "b"), "--save-dir")
    assert os.listdir(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("number, remedy", [("EROFS", "permissions"), ("EACCES", "permissions"), ("ENOSPC", "space")])
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, number, remedy):
    def fail(*args, **kwargs):
        raise OSError(getattr(errno, number), "no")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with pytest.raises(ConfigurationError, match=rf"--save-dir x cannot be written \(no\): .*{remedy}"):
        starting.check_folder(str(tmp_path), "--save-dir x")


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    """A file can be made there, and takes nothing."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: open("/dev/full", "wb"))
    refused(
        "--save-dir cannot be written (No space left on device): free some",
        lambda: starting.check_folder(str(tmp_path), "--save-dir"),
    )


def test_files_in_the_place_of_folders(tmp_path):
    file = tmp_path / "file"
    file.touch()
    refused("--save-dir is a file: name a folder", lambda: starting.check_folder(str(file), "--save-dir"))
    refused("(Not a directory)", lambda: starting.check_folder(str(file / "under"), "--save-dir"))


@pytest.mark.parametrize("flag", ["tensorboard_logdir", "log_file"])
def test_logs_are_asked_for_before_training(tmp_path, flag):
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "x" / "y")
    refused(f"--{flag.replace('_', '-')} {place}", lambda: starting.claim(settings(tmp_path, **{flag: place})))


def test_a_disk_with_no_room_for_the_model(tmp_path, monkeypatch):
    free = 24  # bytes, which 6 parameters take
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    starting.claim(settings(tmp_path))
    free = 23
    refused("a checkpoint takes 0.0 MB at least: free some space", lambda: starting.claim(settings(tmp_path)))
    starting.claim(settings(tmp_path, no_save=True))


def test_a_save_folder_is_one_runs(tmp_path):
    with Lock(tmp_path / "run.lock", ""):
        refused(f"trains in --save-dir {tmp_path}: wait for it, or give", lambda: starting.claim(settings(tmp_path)))
        starting.claim(settings(tmp_path, no_save=True))
    starting.claim(settings(tmp_path))
    starting.claim(settings(tmp_path))  # the same process may train there again
    starting.claim(settings(tmp_path.parent))
    assert not (tmp_path / "run.lock").exists()
    starting._release_lock()
    assert not (tmp_path.parent / "run.lock").exists()


@pytest.mark.parametrize(
    "limits, flag",
    [
        (dict(max_update=3), "3 of --max-update 3"),
        (dict(max_update=2), "3 of --max-update 2"),
        (dict(max_epoch=4), "4 of --max-epoch 4"),
        (dict(stop_time_hours=0.5), "1 of --stop-time-hours 0.5"),
        (dict(max_update=4, max_epoch=5, stop_time_hours=2), None),
        (dict(), None),
        (dict(max_update=3, max_epoch=1, stop_time_hours=0.5, updates=0), None),
    ],
)
def test_a_finished_run_is_left_as_it_is(tmp_path, caplog, limits, flag):
    caplog.set_level("INFO")
    trainer = settings(tmp_path, **limits)
    starting.stop_if_finished(trainer, SimpleNamespace(next_epoch_idx=5), {"previous_training_time": 3600.0})
    assert (trainer.cfg.optimization.max_epoch == -1) == (flag is not None)
    assert not flag or f"is finished, at {flag}: nothing is trained" in caplog.text


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["data", "--log-file", "a/log"], "--log-file a/log"),
        (["data", "--log-file=a/log"], "--log-file=a/log".replace("=", " ")),
        (["+common.log_file=a/log"], "+common.log_file a/log"),
        (["data", "--save-dir", "a"], "--save-dir a"),
    ],
)
def test_the_flag_of_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["fairseq-train", *arguments])
    error = OSError(errno.EROFS, "Read-only file system", str(tmp_path / "a" / "log"))
    sentence = f"{named} cannot be written (Read-only file system): change its permissions, or name another place."
    assert find_sentence(error) == sentence
    spawned = Exception(f"\n\n-- Process 1 terminated with the following error:\nTraceback …\nOSError: {error}\n")
    assert find_sentence(spawned) == sentence
    assert find_sentence(OSError(errno.EROFS, "Read-only file system", str(tmp_path / "ab" / "log"))) is None
    assert find_sentence(OSError(errno.ENOSPC, "No space left on device")) is None


def test_a_log_in_a_folder_that_does_not_exist(tmp_path, monkeypatch):
    place = tmp_path / "absent" / "log"
    monkeypatch.setattr("sys.argv", ["fairseq-train", "--log-file", str(place)])
    with pytest.raises(FileNotFoundError) as caught:
        place.touch()
    assert find_sentence(caught.value).startswith(
        f"--log-file {place} cannot be written (No such file or directory): cr"
    )
