"""What the plugin adds to fairseq."""

import fairseq  # noqa: F401
import pytest
from fairseq.file_io import PathManager

import fairseq_smt

fairseq_smt.register()


def test_a_copy_that_fails_leaves_the_file_before_it_whole(tmp_path, monkeypatch):
    old, new = tmp_path / "checkpoint_last.pt", tmp_path / "checkpoint_best.pt"
    old.write_text("old")
    new.write_text("new")

    def killed(source, destination):
        with open(destination, "w") as file:
            file.write("n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            PathManager.copy(str(new), str(old), overwrite=True)
    assert old.read_text() == "old"
    assert PathManager.copy(str(new), str(old), overwrite=True)
    assert old.read_text() == "new" and sorted(p.name for p in tmp_path.glob("*.pt")) == [new.name, old.name]
