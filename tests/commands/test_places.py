"""Where fairseq-train writes: places that cannot be written, folders of other runs, runs that are finished."""

import pytest

from fairseq_smt.locks import Lock
from tests.support.commands import TRAIN, fairseq
from tests.support.label_cache import contents, copy_of
from tests.support.refusals import SMT, refused
from tests.support.stages import ends


@pytest.mark.parametrize("flag", ["--save-dir", "--tensorboard-logdir", "--log-file"])
def test_places_under_a_file(data, tmp_path, flag):
    (tmp_path / "file").write_text("x")
    before, place = contents(tmp_path), tmp_path / "file" / "x"
    output = fairseq("train", data, *SMT, "--save-dir", tmp_path / "save", flag, place, ok=False)
    refused(output, f"{flag} {place} cannot be written (Not a directory): ")
    assert contents(tmp_path) == before


def test_a_full_disk_in_training(data, tmp_path):
    """The second checkpoint meets /dev/full, which answers every write as a full disk does."""
    first, second = (tmp_path / f"checkpoint_1_{update}.pt" for update in (1, 2))
    second.with_name(f"{second.name}.tmp").symlink_to("/dev/full")
    flags = ["--save-interval-updates", 1, "--max-update", 3, "--save-dir", tmp_path]
    output = fairseq("train", data, *SMT, *flags, ok=False)
    refused(output, f"the checkpoint {second} cannot be written (No space left on device): free some space")
    assert first.read_bytes() == (tmp_path / "checkpoint_last.pt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, "checkpoint_last.pt"]


def test_a_finished_run_is_not_trained_any_further(data, trained, tmp_path):
    folder = copy_of(trained, tmp_path / "save")
    before = contents(folder)
    output = fairseq("train", data, *TRAIN, "--criterion", "smt", "--save-dir", folder, "--max-update", 60)
    assert "is finished, at 60 of --max-update 60: nothing is trained or written; to go on, raise" in output
    assert "Traceback" not in output and contents(folder) == before


def test_two_runs_in_one_folder(data, tmp_path):
    """Every process of the second run ends with the sentence, and leaves what is there."""
    with Lock(tmp_path / "run.lock", ""):
        for status, output in ends(data, tmp_path, "--criterion", "smt", "--max-update", 1, processes=2):
            assert status == 1
            refused(output, "process ", f"trains in --save-dir {tmp_path}: wait for it, or give another --save-dir")
        assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
