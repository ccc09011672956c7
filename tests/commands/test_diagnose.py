"""fairseq-smt-diagnose on short runs: what it writes, and how it refuses."""

import json
import re
from types import SimpleNamespace

import pytest
import torch

from tests.support.commands import TRAIN, fairseq, run


@pytest.fixture(scope="module")
def diagnose():
    """The command's own entry point."""
    from fairseq_smt.cli.diagnose import main

    return lambda *argv: main([str(x) for x in argv] + ["--cpu"])


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """An RNN by BPTT whose weights are still those of its initialisation."""
    folder = tmp_path_factory.mktemp("diagnose") / "alone"
    flags = ["--memory-head", "none", "--criterion", "cross_entropy", "--max-update", 1, "--disable-validation"]
    fairseq("train", data, *TRAIN, "--lr", 0, *flags, "--save-dir", folder)
    return folder / "checkpoint_last.pt"


def read(folder):
    return json.loads((folder / "diagnostics.json").read_text())["checkpoints"]


def test_text_with_and_without_a_teacher(data, trained, alone, diagnose, tmp_path, caplog):
    paths = ["--path", trained / "checkpoint_last.pt", alone, "--names", "smt", "alone"]
    small = ["--sequences", 12, "--batch-size", 5, "--tensorboard-logdir", tmp_path / "tb"]
    diagnose(data, *paths, "--output", tmp_path / "new" / "out", *small)
    pictures = ("gradients", "drift", "loss", "geometry-smt", "geometry-alone")
    written = sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
    assert written == sorted(["diagnostics.json", *(f"{name}.png" for name in pictures)])
    assert "alone has no teacher" in caplog.text
    report = read(tmp_path / "new" / "out")
    assert set(report["smt"]["gradients"]) == {"bptt", "smt"} and set(report["alone"]["gradients"]) == {"bptt"}
    norms = report["alone"]["gradients"]["bptt"]
    assert norms["trained"] == norms["initialisation"]
    assert len(norms["trained"]["norm"]) == 33
    smt = report["smt"]["gradients"]["smt"]
    assert smt["initialisation"]["max_over_min"] < 10 and smt["initialisation"] != smt["trained"]
    assert len(report["smt"]["drift"]["over_variance"]) == 33 and "drift" not in report["alone"]
    assert report["smt"]["loss"]["x"] == list(range(1, 129))
    assert len(report["smt"]["loss"]["ceiling_bits_by_training_length"]) == 4
    assert "ceiling_bits" not in report["alone"]["loss"]
    assert [report[name]["geometry"]["axes_of"] for name in ("smt", "alone")] == ["labels", "own memories"]
    assert len(list((tmp_path / "tb").glob("*/events*"))) == 3


def test_coefficients_are_read_of_blocks_of_any_length():
    from fairseq_smt.analysis.measure import objective_of
    from fairseq_smt.criterions.smt import SmtCriterionConfig

    cfg = SmtCriterionConfig(_name="smt", tokens_per_sample=512, readout_positions=400, future_weight=3, seed=1)
    objective = objective_of(SimpleNamespace(cfg=SimpleNamespace(criterion=cfg), length=8))
    assert objective.future_weight == 3 and objective.readout_positions == 400


def test_loss_and_drift_are_those_of_validation(data, trained, diagnose, tmp_path):
    """On all blocks of a split. Validation's label variance is a mean over batches, and its blocks are shorter."""
    path = trained / "checkpoint_last.pt"
    diagnose(data, "--path", path, "--gen-subset", "valid", "--output", tmp_path, "--sequences", 9999)
    flags = [
        "--path",
        path,
        "--valid-subset",
        "valid",
        "--batch-size",
        64,
        "--required-batch-size-multiple",
        1,
        "--cpu",
    ]
    log = fairseq("validate", data, "--task", "smt_lm", *flags)
    logged = {name: float(value) for name, value in re.findall(r"\| (\w+) ([\d.]+)", log)}
    report = next(iter(read(tmp_path).values()))
    found = {f"drift_{h}": report["drift"]["over_variance"][h - 1] for h in (1, 4, 16)}
    found |= {"label_variance": report["drift"]["label_variance"]}
    found |= {"rnn_nll": report["loss"]["rnn_bits_by_training_length"][0]}
    assert found == pytest.approx({name: logged[name] for name in found}, rel=0.05)


def test_a_probe_is_measured_at_several_lengths_and_needs_no_data(diagnose, tmp_path):
    probe = ["--user-dir", "fairseq_smt", "--task", "smt_probe", "--tokens-per-sample", 16, "--batch-size", 8, "--cpu"]
    smt = ["--arch", "smt_lm_tiny", "--criterion", "smt", "--future", "far", "--futures", 1, "--pursuit-weight", 0.3]
    flags = ["--optimizer", "adam", "--max-update", 2, "--probe-valid-size", 16, "--disable-validation"]
    run("fairseq-train", *probe, *smt, *flags, "--save-dir", tmp_path)
    diagnose("--path", tmp_path / "checkpoint_last.pt", "--output", tmp_path / "out")
    report = read(tmp_path / "out")[tmp_path.name]
    assert report["loss"]["against"] == "length" and report["loss"]["x"] == [4, 8, 16, 24, 32, 48, 64]
    assert len(report["loss"]["rnn_bits"]) == len(report["loss"]["ceiling_bits"]) == 7
    assert report["sequences"] == 16 and report["gradients"]["smt"]["coefficients"]["pursuit_weight"] == 0.3


def test_refusals(data, trained, diagnose, tmp_path):
    from fairseq_smt.errors import ConfigurationError

    path = trained / "checkpoint_last.pt"
    (tmp_path / "broken.pt").write_bytes(path.read_bytes()[:1000])
    (tmp_path / "file").touch()
    state = torch.load(path, weights_only=False)
    state["model"]["decoder.rnn.initial.weight"][0, 0] = float("inf")
    torch.save(state, tmp_path / "diverged.pt")
    for flags, sentence in [
        (["--path", tmp_path / "absent.pt"], "absent.pt does not exist"),
        (["--path", tmp_path / "broken.pt"], "broken.pt is damaged, or no checkpoint of fairseq"),
        (
            ["--path", tmp_path / "diverged.pt", "--sequences", 2],
            "diverged.pt are not finite: its training has diverged",
        ),
        (["--path", path, "--names", "a", "b"], "--names gives 2 names for 1 checkpoints"),
        (["--path", path, "--names", "a/b"], "leave out '/'"),
        (["--path", path, "--sequences", 0], "--sequences must be positive"),
        (["--path", path, "--gen-subset", "absent"], "no split 'absent'"),
        (["--path", path, "--sequences", 2, "--output", tmp_path / "file"], "of --output is a file"),
    ]:
        with pytest.raises(ConfigurationError, match=sentence):
            diagnose(data, "--output", tmp_path / "out", *flags)
    with pytest.raises(ConfigurationError, match="give DATA"):
        diagnose("--path", path, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_tell_checkpoints_apart():
    from fairseq_smt.cli.flags import names_of

    assert names_of(["runs/smt/last.pt", "runs/bptt/last.pt"], None) == ["smt", "bptt"]
    assert names_of(["runs/smt/best.pt", "runs/smt/last.pt"], None) == ["best", "last"]
    assert names_of(["a/smt/last.pt", "b/smt/last.pt"], None) == ["1-smt-last", "2-smt-last"]


def test_json_has_null_for_what_is_not_finite(tmp_path):
    from fairseq_smt.cli.output import write_json

    write_json(tmp_path / "x.json", {"norm": [1.0, float("inf")], "n": 1, "nan": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"norm": [1.0, None], "n": 1, "nan": None}
