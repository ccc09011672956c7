"""Bad input ends with one sentence, without a traceback, and a non-zero exit."""

import subprocess
import sys

import pytest

from tests.support.commands import BLOCKS, ROOT, TRAIN, fairseq, run

SMT = [*TRAIN, "--criterion", "smt", "--max-update", "1", "--disable-validation"]


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--arch", "smt_lm_tiny", "--cell", "transformer", "--cell-heads", 3], "--cell-heads 3 does not fit"),
        (["--trunk-heads", 5], "--trunk-heads 5 does not fit"),
        (["--futures", 33], "--futures 33 is longer than a block"),
        (["--memory-tokens", 0], "--memory-tokens must be positive"),
        (["--memory-head", "none"], "--criterion smt trains a teacher"),
        (["--self-target"], "remove --self-target"),
        (["--output-dictionary-size", 10], "remove --output-dictionary-size"),
        (["--train-subset", "absent"], "no split 'absent'"),
        (["--curriculum-start", 33], "--curriculum-start 33 is longer than a block"),
        (["--readout-positions", 0], "--readout-positions must be positive"),
    ],
    ids=lambda x: x if isinstance(x, str) else None,
)
def test_wrong_flags(data, tmp_path, flags, sentence):
    output = fairseq("train", data, *SMT, "--save-dir", tmp_path, *flags, ok=False)
    assert sentence in output and "Traceback" not in output


def test_loss_that_is_not_finite(data, tmp_path):
    flags = ["--save-dir", tmp_path, "--lr", "1e30", "--max-update", 20]
    output = fairseq("train", data, *SMT, *flags, ok=False)
    assert "the loss is not finite" in output and "Traceback" not in output


def test_missing_data_folder(tmp_path):
    output = fairseq("train", tmp_path / "absent", *SMT, "--save-dir", tmp_path, ok=False)
    assert "absent/dict.txt does not exist" in output and "Traceback" not in output


def test_checkpoint_of_other_sizes(data, trained, tmp_path):
    flags = ["--finetune-from-model", trained / "checkpoint_last.pt", "--memory-width", 8, "--save-dir", tmp_path]
    output = fairseq("train", data, *SMT, *flags, ok=False)
    assert "of a model of other sizes" in output and "Traceback" not in output


def test_checkpoint_of_another_model(data, tmp_path):
    stock = [
        "--task",
        "language_modeling",
        "--arch",
        "transformer_lm",
        "--decoder-embed-dim",
        16,
        "--decoder-layers",
        1,
    ]
    stock += ["--data-buffer-size", 0]  # its thread may abort the process, which the plugin prevents
    stock += ["--decoder-attention-heads", 2, "--tokens-per-sample", 32, "--max-update", 1, "--batch-size", 2, "--cpu"]
    run(
        "fairseq-train",
        data,
        *stock,
        "--optimizer",
        "adam",
        "--lr",
        "0.1",
        "--save-dir",
        tmp_path / "stock",
        "--disable-validation",
    )
    flags = ["--finetune-from-model", tmp_path / "stock" / "checkpoint_last.pt", "--save-dir", tmp_path / "smt"]
    output = fairseq("train", data, *SMT, *flags, ok=False)
    assert "not one of an smt_lm model" in output and "Traceback" not in output


def test_another_vocabulary(data, trained, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("An altogether different alphabet: αβγδε. " * 50)
    run("python", ROOT / "scripts/prepare_text.py", "--destdir", tmp_path / "data", text)
    path = ["--path", trained / "checkpoint_last.pt", "--gen-subset", "test", "--cpu"]
    output = fairseq("eval-lm", tmp_path / "data", *BLOCKS, *path, ok=False)
    assert "trained with another dictionary" in output and "Traceback" not in output


def test_no_fairseq_installed():
    code = "import sys; sys.modules['fairseq'] = None; import fairseq_smt.core.objectives as o, fairseq_smt as p\n"
    code += "try: p.register()\nexcept ValueError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "fairseq is not installed" in done.stdout, done.stderr


def test_core_does_not_import_fairseq():
    code = "import sys, pkgutil, importlib as i, fairseq_smt.core as c, fairseq_smt.data.probes as p\n"
    code += "for m in (c, p): [i.import_module(x.name) for x in pkgutil.walk_packages(m.__path__, m.__name__ + '.')]\n"
    code += "import fairseq_smt.data.pixels, fairseq_smt.data.vocabulary\n"
    code += "assert 'fairseq' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_prepare_text_refuses_bad_input(tmp_path):
    script = ROOT / "scripts/prepare_text.py"
    (tmp_path / "empty.txt").write_text("")
    output = run("python", script, "--destdir", tmp_path / "d", tmp_path / "empty.txt", ok=False)
    assert "split is empty" in output and not (tmp_path / "d").exists()
    assert "does not exist" in run("python", script, "--destdir", tmp_path / "d", tmp_path / "absent.txt", ok=False)
