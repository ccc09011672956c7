"""A data folder takes the place of an earlier one, and of nothing else."""

import errno
import os
import resource
import signal

import pytest

from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.data.folders import DESCRIPTIONS, WRITTEN, replaced_folder
from tests.support.label_cache import forked


def fill(destination, text="new") -> None:
    with replaced_folder(str(destination)) as folder:
        (folder / "dict.txt").write_text(text)
        (folder / "vocabulary.json").write_text("{}")


def content(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


NEW = {"dict.txt": "new", "vocabulary.json": "{}"}


@pytest.mark.parametrize("name", ["data", "data/", "a/b/data", "./x/../data"])
def test_a_folder_appears(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkdir("x")
    fill(name)
    assert content(tmp_path / name) == NEW and not [x for x in os.listdir() if x.startswith(".")]


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_data_of_an_earlier_call_and_an_empty_folder_are_replaced(tmp_path, description):
    for folder, names in ((tmp_path / "data", WRITTEN - {*DESCRIPTIONS} | {description}), (tmp_path / "empty", [])):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("old")
        fill(f"{folder}/")
        assert content(folder) == NEW
    assert sorted(os.listdir(tmp_path)) == ["data", "empty"]


@pytest.mark.parametrize(
    "names, foreign",
    [
        (["vocabulary.json", "train.bin", "notes.txt"], "notes.txt"),
        (["vocabulary.json", ".git/config"], ".git"),
        (["shakespeare/vocabulary.json", "mine/dict.txt"], "mine"),
        (["vocabulary.json", "train.bin/x"], "train.bin"),
        (["dict.txt", "train.bin", "train.idx"], "dict.txt"),  # of fairseq-preprocess, by somebody's own hand
    ],
)
def test_what_is_not_a_prepare_commands_stays(tmp_path, names, foreign):
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("mine")
    with pytest.raises(ConfigurationError, match=f"--destdir .*data holds {foreign}, which no prepare command wrote"):
        fill(tmp_path / "data")
    assert all((tmp_path / "data" / name).read_text() == "mine" for name in names)
    assert os.listdir(tmp_path) == ["data"]


def test_what_appears_meanwhile_stays(tmp_path):
    with pytest.raises(ConfigurationError, match="holds notes"), replaced_folder(str(tmp_path / "data")):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "notes").touch()
    assert os.listdir(tmp_path / "data") == ["notes"]


@pytest.mark.parametrize("place", [".", "..", "/", "~", "/tmp/..", "link"])
def test_folders_to_work_in_are_refused(tmp_path, monkeypatch, place):
    (tmp_path / "home").mkdir()
    (tmp_path / "here" / "below").mkdir(parents=True)
    (tmp_path / "here" / "below" / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here" / "below")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(ConfigurationError, match="is a folder that you work in or its parent"):
        fill(os.path.expanduser(place))
    assert sorted(os.listdir(tmp_path)) == ["here", "home"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    fill(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    fill(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and content(tmp_path / "real") == NEW


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    for place, sentence in [
        ("file", "file is a file: give a folder"),
        ("file/data", "cannot be written .*directory"),
        ("file/a/data", "cannot be written .*directory"),
        ("loop", "cannot be written|is a file"),
        ("/proc/data", "cannot be written"),
    ]:
        with pytest.raises(ConfigurationError, match=f"--destdir .*{sentence}"):
            fill(tmp_path / place)
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"] and (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_is_read_only(tmp_path, monkeypatch):
    def mkdir(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.mkdir", mkdir)
    for place in ("data", "a/data"):
        with pytest.raises(ConfigurationError, match=f"--destdir .*{place} cannot be written .Read-only file system"):
            fill(tmp_path / place)


def test_an_error_leaves_everything_as_it_was(tmp_path):
    fill(tmp_path / "data", "old")
    for place in ("data", "a/b/c"):
        with pytest.raises(KeyboardInterrupt), replaced_folder(str(tmp_path / place)) as folder:
            (folder / "dict.txt").write_text("new")
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["data"] and content(tmp_path / "data") == NEW | {"dict.txt": "old"}


def test_a_swap_that_fails_half_way_is_undone(tmp_path, monkeypatch):
    fill(tmp_path / "data", "old")
    rename = os.rename

    def failing(source, target):
        if str(source).endswith("bin"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(ConfigurationError, match="Input/output error"):
        fill(tmp_path / "data")
    assert os.listdir(tmp_path) == ["data"] and content(tmp_path / "data")["dict.txt"] == "old"


def test_a_disk_that_is_full(tmp_path):
    """The system lets the process write files of 1000 bytes only."""

    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        try:
            fill(tmp_path / "data", "long" * 1000)
        except ConfigurationError as error:
            os._exit(7 if "cannot be written (File too large)" in str(error) else 8)

    process = forked(write)
    process.join(60)
    assert process.exitcode == 7 and not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "error, blamed",
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),  # a write, which the system gives no name
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.EACCES, "Permission denied", "dict.txt"), True),
        (OSError(errno.ENOENT, "No such file or directory", "../0.txt"), True),
        (OSError(errno.EXDEV, "Invalid cross-device link", "/absent", None, "dict.txt"), True),
        (OSError(errno.EACCES, "Permission denied", "/dev/shm/semaphore"), False),
        (OSError(errno.ENOSPC, "No space left on device", "/absent/file"), False),
        (OSError(errno.ENOENT, "No such file or directory", "../../text"), False),  # beside the folder
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), False),  # a fork
        (OSError(errno.ENOMEM, "Cannot allocate memory"), False),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), False),
    ],
)
def test_only_errors_of_the_place_are_blamed_on_it(tmp_path, monkeypatch, error, blamed):
    expected = pytest.raises(ConfigurationError, match="--destdir .*data cannot be written") if blamed else None
    with expected or pytest.raises(type(error), check=lambda raised: raised is error):
        with replaced_folder(str(tmp_path / "data")) as folder:
            monkeypatch.chdir(folder)
            raise error
    assert not os.listdir(tmp_path)
