"""Files and folders are whole or absent, whatever happens meanwhile."""

import errno
import os

import pytest

from fairseq_smt.errors import ConfigurationError
from fairseq_smt.files import told, whole_file, whole_folder, write_whole


def test_a_file_is_replaced_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (b"old", b"new"):
        write_whole("file", content)
        assert (tmp_path / "file").read_bytes() == content and os.listdir() == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_after_an_error_the_old_file_and_folder_stand(tmp_path, error):
    write_whole(tmp_path / "file", b"old")
    with pytest.raises(type(error)), whole_file(tmp_path / "file") as partial:
        with open(partial, "w") as file:
            file.write("ne")
        raise error
    with pytest.raises(type(error)), whole_folder(tmp_path / "a" / "folder") as folder:
        (folder / "file").touch()
        raise error
    assert (tmp_path / "file").read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("refuses", ["replace", "fsync"])
def test_a_system_that_refuses_to_put_a_file_in_its_place(tmp_path, monkeypatch, refuses):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr(os, refuses, refuse)
    with pytest.raises(ConfigurationError, match=r"^the thing cannot be written \(Input/output error\)"):
        with told("the thing"):
            write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path):
    (tmp_path / "file.tmp").write_bytes(b"a part, longer than what follows")
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]
