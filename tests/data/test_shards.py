"""Folders of DATA that are not alike are refused by every command, before it does anything."""

import json
import shutil
from pydoc_data.topics import topics

import fairseq  # noqa: F401
import pytest

import fairseq_smt
from fairseq_smt.data.shards import check_alike
from fairseq_smt.errors import ConfigurationError
from tests.support.commands import BLOCKS, ROOT, TRAIN, run
from tests.support.commands import fairseq as command

fairseq_smt.register()


@pytest.fixture
def folders(tmp_path):
    """Two folders of the same vocabulary."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "dict.txt").write_text("x 3\ny 2\n")
        (tmp_path / name / "vocabulary.json").write_text(json.dumps({"kind": "character"}))
        (tmp_path / name / "pixels.json").write_text(json.dumps({"height": 2, "width": 2, "levels": 2}))
    return tmp_path


CHANGES = {
    "other symbols": ("dict.txt", "x 3\nz 2\n", "another dictionary"),
    "other order": ("dict.txt", "y 3\nx 2\n", "another dictionary"),
    "more symbols": ("dict.txt", "x 3\ny 2\nz 1\n", "another dictionary"),
    "other kind": ("vocabulary.json", json.dumps({"kind": "byte"}), "another vocabulary"),
    "other images": ("pixels.json", json.dumps({"height": 1, "width": 4, "levels": 2}), "another kind of images"),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_folder_that_differs_is_named(folders, change):
    name, content, sentence = CHANGES[change]
    (folders / "b" / name).write_text(content)
    with pytest.raises(ConfigurationError, match=f"/b has {sentence} than .*/a"):
        check_alike([str(folders / "a"), str(folders / "a"), str(folders / "b")])


def test_folders_that_are_alike(folders, caplog):
    """Counts do not matter, and what only one of two folders says cannot differ."""
    (folders / "b" / "dict.txt").write_text("x 7\ny 1\n")
    (folders / "b" / "pixels.json").unlink()
    check_alike([str(folders / "a"), str(folders / "b")])
    (folders / "b" / "dict.txt").unlink()
    check_alike([str(folders / "a"), str(folders / "b")])
    assert "b has no dict.txt" in caplog.text


def test_another_sentencepiece_model(tmp_path):
    """With the same pieces in the same order."""
    text = tmp_path / "text.txt"
    text.write_text("".join(topics.values()))
    flags = ["--vocabulary", "sentencepiece", "--vocabulary-size", 400]
    run("fairseq-smt-prepare-text", "--destdir", tmp_path / "a", *flags, text)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    check_alike([str(tmp_path / "a"), str(tmp_path / "b")])
    from sentencepiece import sentencepiece_model_pb2 as model_of

    model = model_of.ModelProto()
    model.ParseFromString((tmp_path / "b" / "sentencepiece.model").read_bytes())
    model.pieces[-1].score -= 1
    (tmp_path / "b" / "sentencepiece.model").write_bytes(model.SerializeToString())
    with pytest.raises(ConfigurationError, match="another vocabulary"):
        check_alike([str(tmp_path / "a"), str(tmp_path / "b")])


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Text of another alphabet as data."""
    tmp_path = tmp_path_factory.mktemp("other")
    text = tmp_path / "other.txt"
    text.write_text("αβγδε ζηθ. " * 600)
    run("python", ROOT / "scripts/prepare_text.py", "--destdir", tmp_path / "other", text)
    return tmp_path / "other"


@pytest.mark.parametrize("name", ["train", "eval-lm", "cache-labels"])
def test_every_command_compares(data, other, trained, tmp_path, name):
    both, path = f"{data}:{other}", ["--path", trained / "checkpoint_last.pt", "--cpu"]
    if name == "train":
        output = command(name, both, *TRAIN, "--criterion", "smt", "--max-update", 1, "--save-dir", tmp_path, ok=False)
    elif name == "cache-labels":
        output = run("fairseq-smt-cache-labels", both, *path, "--label-cache", tmp_path / "labels", ok=False)
    else:
        output = command(name, both, *BLOCKS, *path, ok=False)
    assert f"{other} has another dictionary than {data}" in output and "Traceback" not in output


@pytest.mark.parametrize("missing", ["folder", "split"])
def test_a_later_folder_is_looked_at_before_the_first_update(data, tmp_path, missing):
    later = tmp_path / "later"
    if missing == "split":
        later.mkdir()
        shutil.copy(data / "dict.txt", later)
    flags = ["--criterion", "smt", "--max-update", 1, "--save-dir", tmp_path / "run"]
    output = command("train", f"{data}:{later}", *TRAIN, *flags, ok=False)
    sentence = "does not exist" if missing == "folder" else "has no split 'train'"
    assert f"{later}" in output.splitlines()[-1] and sentence in output and "Traceback" not in output


def test_a_split_under_a_name_that_fairseq_writes_and_does_not_read(tmp_path):
    (tmp_path / "text").write_text("a b c\n" * 200)
    flags = ["--only-source", "--dataset-impl", "raw", "--destdir", tmp_path / "raw"]
    run("fairseq-preprocess", *flags, "--trainpref", tmp_path / "text", "--validpref", tmp_path / "text")
    train = [*TRAIN, "--criterion", "smt", "--max-update", 1, "--save-dir", tmp_path / "run", "--dataset-impl", "raw"]
    output = command("train", tmp_path / "raw", *train, ok=False)
    assert "valid.None-None has a name that fairseq does not read: rename it to" in output
    for split in ("train", "valid"):
        (tmp_path / "raw" / f"{split}.None-None").rename(tmp_path / "raw" / split)
    assert "done training" in command("train", tmp_path / "raw", *train)


def test_a_dictionary_that_lists_a_symbol_of_fairseqs_own(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "dict.txt"
    path.write_text("<unk> 3\n" + path.read_text())
    flags = ["--criterion", "smt", "--max-update", 1, "--save-dir", tmp_path / "run"]
    output = command("train", tmp_path / "data", *TRAIN, *flags, ok=False)
    assert "'<unk>'" in output and "#fairseq:overwrite" in output.splitlines()[-1] and "Traceback" not in output
