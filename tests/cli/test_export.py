"""fairseq-smt-export on a short run: what it writes, what it leaves alone, and how it refuses."""

import json

import pytest
import torch

from fairseq_smt.cli.export import main
from fairseq_smt.errors import ConfigurationError
from fairseq_smt.pretrained import Pretrained
from tests.support.commands import run


@pytest.fixture(scope="module")
def exported(data, trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "new" / "out"
    main([str(trained / "checkpoint_last.pt"), str(out), "--program"])
    return out


def test_the_folder_is_the_checkpoint(data, trained, exported):
    lm = Pretrained.load(exported)
    state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
    for name, tensor in lm.rnn.state_dict().items():
        torch.testing.assert_close(tensor, state["model"][f"decoder.rnn.{name}"], rtol=0, atol=0)
    lines = (data / "dict.txt").read_text()
    assert (exported / "dict.txt").read_text() == lines and len(lm.text.symbols) == 4 + len(lines.splitlines())
    assert lm.text.decode(lm.text.encode("The lambda\nand more ")) == "The lambda\nand more " and lm.start == 0
    step = torch.export.load(exported / "step.pt2")
    tokens = torch.tensor([[0, *lm.text.encode("of")]])
    memory = step.state_dict["initial"][None]
    for token in tokens.T:
        logits, memory = step.module()(token, memory)
    torch.testing.assert_close(logits, lm.rnn(tokens)[0][:, -1], rtol=0, atol=1e-6)


def test_card_and_config_say_what_was_trained_and_no_place(data, trained, exported):
    card, config = (exported / "README.md").read_text(), (exported / "config.json").read_text()
    rows = ("trained on | the folder `data`", "updates | 60", "criterion | smt", "rnn_nll", "rnn_bpb")
    for words in (f"| {row} |" for row in rows):
        assert words in card
    assert "fairseq-smt-export checkpoint_last.pt out --program" in card and "`step.pt2`" in card
    assert json.loads(config)["blocks"] == {
        "tokens_per_sample": 32,
        "sample_break_mode": "none",
        "add_bos_token": True,
    }
    assert "/" not in config and str(data.parent) not in card and str(trained.parent) not in card


def test_an_earlier_export_is_replaced_and_nothing_else(trained, exported, tmp_path):
    checkpoint = str(trained / "checkpoint_last.pt")
    (tmp_path / "mine").write_text("mine")
    for out, sentence in [
        (tmp_path, "OUT .* holds mine, which no fairseq-smt-export wrote there"),
        (tmp_path / "mine", "OUT .*mine is a file: give a folder"),
        (trained, "which no fairseq-smt-export wrote there"),
    ]:
        with pytest.raises(ConfigurationError, match=sentence):
            main([checkpoint, str(out)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    main([checkpoint, str(exported.parent / "again")])
    main([checkpoint, str(exported.parent / "again"), "--program"])
    names = {path.name for path in (exported.parent / "again").iterdir()}
    assert names == {"config.json", "model.safetensors", "dict.txt", "README.md", "step.pt2"}


def test_refusals(data, trained, tmp_path):
    checkpoint = trained / "checkpoint_last.pt"
    (tmp_path / "broken.pt").write_bytes(checkpoint.read_bytes()[:1000])
    state = torch.load(checkpoint, weights_only=False)
    state["cfg"]["task"]["data"] = "gone"
    torch.save(state, tmp_path / "moved.pt")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dict.txt").write_text("a 1\n")
    for argv, sentence in [
        ([tmp_path / "absent.pt"], "absent.pt does not exist"),
        ([tmp_path / "broken.pt"], "broken.pt is damaged, or no checkpoint of fairseq"),
        ([tmp_path / "moved.pt"], "gone, the DATA that .*moved.pt was trained on, is not here: .* --data"),
        ([checkpoint, "--data", tmp_path / "other"], "trained with another dictionary"),
        ([checkpoint, "--data", tmp_path / "absent"], "dict.txt does not exist"),
    ]:
        with pytest.raises(ConfigurationError, match=sentence):
            main([*map(str, argv[:1]), str(tmp_path / "out"), *map(str, argv[1:])])
    assert not (tmp_path / "out").exists()
    main([str(tmp_path / "moved.pt"), str(tmp_path / "out"), "--data", str(data)])
    assert "| trained on | the folder `data` |" in (tmp_path / "out" / "README.md").read_text()


def test_a_probe_is_symbols_between_spaces(tmp_path):
    probe = ["--user-dir", "fairseq_smt", "--task", "smt_probe", "--tokens-per-sample", 16, "--batch-size", 8, "--cpu"]
    smt = ["--arch", "smt_lm_tiny", "--criterion", "smt", "--future", "far", "--futures", 1, "--max-update", 1]
    run("fairseq-train", *probe, *smt, "--disable-validation", "--save-dir", tmp_path)
    main([str(tmp_path / "checkpoint_last.pt"), str(tmp_path / "out")])
    lm = Pretrained.load(tmp_path / "out")
    symbols = lm.text.symbols[4:7]
    assert lm.text.decode(lm.text.encode(" ".join(symbols) + "\n")).split() == symbols
    assert "| trained on | probe retrieval |" in (tmp_path / "out" / "README.md").read_text()
