"""What loading a checkpoint may build: the containers that fairseq puts there, and nothing that runs code."""

import io
import os
import pickle

import fairseq  # noqa: F401
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.distributed.utils import _split_tensors_from_obj
from torch.serialization import get_unsafe_globals_in_checkpoint

import fairseq_smt
from tests.support.commands import TRAIN
from tests.support.commands import fairseq as fairseq_command

fairseq_smt.register()
from fairseq_smt.compat.loading import SAFE_GLOBALS  # noqa: E402


def globals_in(path, monkeypatch) -> set[str]:
    """Names that a checkpoint needs, as a file and as the object that the first process of a run sends the others."""
    broadcast = path.with_suffix(".broadcast")
    broadcast.write_bytes(saved(_split_tensors_from_obj(checkpoint_utils.load_checkpoint_to_cpu(str(path)), [])))
    with monkeypatch.context() as patch:
        patch.setattr("torch._weights_only_unpickler._marked_safe_globals_set", set())
        return {name for file in (path, broadcast) for name in get_unsafe_globals_in_checkpoint(file)}


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_the_list_of_safe_globals_is_what_checkpoints_need(data, trained, tmp_path, monkeypatch):
    lstm = ["--arch", "lstm_lm", "--criterion", "cross_entropy", "--max-update", 1, "--save-dir", tmp_path]
    fairseq_command("train", data, *(flag for flag in TRAIN if flag != "smt_lm_tiny" and flag != "--arch"), *lstm)
    found = globals_in(trained / "checkpoint_last.pt", monkeypatch)
    found |= globals_in(tmp_path / "checkpoint_last.pt", monkeypatch)
    assert found == {f"{kind.__module__}.{kind.__qualname__}" for kind in SAFE_GLOBALS}


class RunsCode:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("flag", ["--restore-file", "--finetune-from-model"])
def test_a_checkpoint_that_would_run_code_is_refused(data, tmp_path, flag):
    marker, path = tmp_path / "ran", tmp_path / "checkpoint.pt"
    torch.save({"model": RunsCode(marker)}, path)
    flags = ["--criterion", "smt", "--max-update", 1, "--save-dir", tmp_path / "save", flag, path]
    output = fairseq_command("train", data, *TRAIN, *flags, ok=False)
    assert f"{path} holds posix.mkdir, which might run code" in output and "Traceback" not in output
    assert not marker.exists()
    pickle.loads(pickle.dumps(RunsCode(marker)))
    assert marker.exists(), "the checkpoint was harmless"
