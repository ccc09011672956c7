"""Exported folders: the same logits and texts as before, without fairseq, and refusals of what is not whole."""

import json
import os
import subprocess
import sys

import pytest
import torch

from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.language_model import RecurrentLanguageModel
from fairseq_smt.pretrained import Pretrained
from tests.support.commands import ROOT
from tests.support.exports import KINDS, TEXT, changed, export

ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"fairseq", "omegaconf", "hydra", "tensorboard", "numpy", *sys.argv[2:]}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Refuse())
import pickle, torch
def refuse(*_, **__):
    raise AssertionError("a pickle")
pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
from fairseq_smt.pretrained import Pretrained
lm = Pretrained.load(sys.argv[1])
ids = lm.text.encode("To be, or not")
print(lm.text.decode(ids))
print(float(lm.rnn(torch.tensor([[lm.start, *ids]]))[0].sum()))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_without_fairseq_and_numpy(exports, kind):
    folder, rnn = exports[kind]
    without = [] if kind == "sentencepiece" else ["sentencepiece"]
    command = [sys.executable, "-W", "ignore", "-c", ALONE, folder, *without]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    text, total = done.stdout.splitlines()
    assert text == "To be, or not" or kind == "line"
    ids = Pretrained.load(folder).text.encode("To be, or not")
    assert float(total) == pytest.approx(float(rnn(torch.tensor([[0, *ids]]))[0].sum()), rel=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_logits_are_those_of_before(tmp_path, cell):
    rnn = export(tmp_path / "out", "byte", cell=cell)
    tokens = torch.randint(rnn.vocabulary, (3, 20))
    alone = RecurrentLanguageModel.load(tmp_path / "out" / "model.safetensors")
    for found in (Pretrained.load(tmp_path / "out").rnn, alone):
        torch.testing.assert_close(found(tokens)[0], rnn(tokens)[0], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_come_back(exports, kind):
    text = Pretrained.load(exports[kind][0]).text
    ids = text.encode(TEXT)
    words = " ".join(TEXT.replace("\n", " \n ").split(" "))
    assert text.decode(ids) == TEXT if kind != "line" else text.decode(ids).split() == words.split()
    assert 3 not in ids and max(ids) < len(text.symbols)
    assert [s for s, silent in zip(text.symbols, text.silent, strict=True) if silent][:2] == ["<s>", "<pad>"]


def test_config_says_no_place_and_files_can_be_read_by_others(exports):
    folder, _ = exports["sentencepiece"]
    content = json.loads((folder / "config.json").read_text())
    assert content["text"] == {"kind": "sentencepiece", "bos": 0, "pad": 1, "eos": 2, "unk": 3}
    assert content["model"]["memory_width"] == 8 and content["blocks"]["add_bos_token"] is True
    assert {file["name"] for file in content["files"].values()} == {p.name for p in folder.iterdir()} - {"config.json"}
    assert str(folder.parent) not in (folder / "config.json").read_text()
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_damaged_and_foreign_folders_are_refused(exports, tmp_path):
    folder, _ = exports["sentencepiece"]
    config, text = folder / "config.json", (folder / "config.json").read_text()
    content = json.loads(text)

    def other(**changes):
        return json.dumps(content | changes).encode()

    def files(**changes):
        return other(files=content["files"] | changes)

    digest = content["files"]["model"]["sha256"]
    whole = {name: (folder / name).read_bytes() for name in ("model.safetensors", "dict.txt", "sentencepiece.model")}
    for path, damaged, sentence in [
        (config, None, "has no config.json: name a folder written by fairseq-smt-export"),
        (config, text.encode()[:-40], "config.json is damaged, or not of fairseq-smt-export"),
        (config, b'{"model_type": "gpt2"}', "config.json is damaged, or not of fairseq-smt-export"),
        (config, b"[" * 100000, "config.json is damaged"),
        (config, b"[]", "config.json is damaged"),
        (config, b"\xff", "config.json is damaged"),
        (config, other(format=2), "has format 2, this version of fairseq_smt reads 1"),
        (config, other(text=content["text"] | {"kind": "runes"}), "config.json is damaged"),
        (config, other(text=content["text"] | {"eos": 7}), "special symbols are not the first"),
        (config, other(model=content["model"] | {"cell_hidden": 8}), "has other sizes than model.safetensors"),
        *(
            (config, files(model={"name": name, "sha256": digest}), "which is no file of its folder")
            for name in ("../model.safetensors", "/etc/passwd", "..", "", "a\\b", 3)
        ),
        (config, files(model={"name": "absent", "sha256": digest}), "absent is missing: export it again"),
        *((folder / name, None, f"{name} is missing") for name in whole),
        *((folder / name, data[:-1], f"{name} is damaged, or of another export") for name, data in whole.items()),
        *((folder / name, data[:-9] + b"x" + data[-8:], f"{name} is damaged") for name, data in whole.items()),
    ]:
        with changed(path, damaged), pytest.raises(ConfigurationError, match=sentence) as caught:
            Pretrained.load(folder)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    absent = tmp_path / "absent"
    for place, sentence in [(absent, "does not exist"), (config, "is a file"), (tmp_path, "has no config")]:
        with pytest.raises(ConfigurationError, match=sentence):
            Pretrained.load(place)
    Pretrained.load(os.path.relpath(folder))
