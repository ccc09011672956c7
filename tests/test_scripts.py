"""Scripts: texts to data and back, n-gram baselines, the demo's progress, and the checks' sight."""

import glob
import io
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from pydoc_data.topics import topics

import pytest
import torch

import progress
from fairseq_smt.cli import prepare_text as prepare_text_script
from fairseq_smt.data.vocabulary import decoder
from ngram_baselines import bits
from tests.support.commands import ROOT


def test_ngram_baselines_equal_a_plain_count():
    train, test = [3, 4, 3, 4, 4, 2], [4, 3, 2]
    eos, vocabulary, smoothing = 2, 5, 0.1
    pairs = list(zip([eos] + train, train, strict=False))

    def bigram(a: int, b: int) -> float:
        return (pairs.count((a, b)) + smoothing) / (sum(p[0] == a for p in pairs) + smoothing * vocabulary)

    def unigram(b: int) -> float:
        return (train.count(b) + smoothing * vocabulary) / (len(train) + smoothing * vocabulary**2)

    found = bits(torch.tensor(train), torch.tensor(test), vocabulary, eos, smoothing)
    expected = [-math.log2(bigram(a, b)) for a, b in zip([eos] + test, test, strict=False)]
    assert found["bigram"] == pytest.approx(sum(expected) / 3)
    assert found["unigram"] == pytest.approx(-sum(math.log2(unigram(b)) for b in test) / 3)


@pytest.fixture
def prepare_text(tmp_path, monkeypatch, capsysbinary):
    """Call fairseq-smt-prepare-text in a folder with some texts; returns what it prints on stdout."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("book", "other", "a", "b", "v", "t")):
        (tmp_path / f"{name}.txt").write_text("".join(topics[x] for x in sorted(topics)[i::6])[:40000])

    def call(line: str, stdin: bytes = b"") -> bytes:
        words = [glob.glob(word) if "*" in word else [word] for word in shlex.split(line, comments=True)]
        monkeypatch.setattr(sys, "argv", ["fairseq-smt-prepare-text", *sum(words, [])])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        prepare_text_script.main()
        return capsysbinary.readouterr().out

    return call


def examples() -> list[str]:
    """The lines of --help that call the script, without its name."""
    return re.findall(r"^ +fairseq-smt-prepare-text (.*)", prepare_text_script.__doc__, re.MULTILINE)


@pytest.mark.parametrize("line", examples())
def test_every_example_of_the_help_works(prepare_text, tmp_path, line):
    assert len(examples()) == 4
    assert b"wrote DATA" in prepare_text(line)
    counts = json.loads((tmp_path / "DATA/vocabulary.json").read_text())["splits"]
    if "--test" in line:
        assert [counts[split]["texts"] for split in ("train", "valid", "test")] == [2, 1, 1]
        assert counts["test"]["bytes"] == (tmp_path / "t.txt").stat().st_size


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("--destdir DATA folder", r"folder is a folder: give its files instead, for example folder/\*\.txt"),
        ("--destdir DATA absent", "absent does not exist"),
        ("--destdir DATA /dev/null", "/dev/null is no ordinary file"),
        (
            "--destdir DATA --valid v.txt --test t.txt a.txt b.txt",
            "name them before --valid and --test, which",
        ),
        ("--destdir DATA", r"give text files to train on\."),
        ("a.txt", "give --destdir"),
        ("--destdir DATA a.txt --test t.txt", "--valid and --test go together"),
        ("--destdir DATA a.txt --valid v.txt --test ./a.txt", "name it once|hold the same text"),
        ("--destdir DATA a.txt --test-share 0", "--valid-share and --test-share must be positive"),
        ("--destdir . a.txt", "--destdir . is a folder that you work in"),
        ("--destdir folder a.txt", "--destdir folder holds thesis.doc"),
    ],
)
def test_what_prepare_text_refuses(prepare_text, tmp_path, line, sentence):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.doc").touch()
    with pytest.raises(SystemExit, match=f"^fairseq-smt-prepare-text: error: .*{sentence}"):
        prepare_text(line)
    assert not (tmp_path / "DATA").exists() and (tmp_path / "folder" / "thesis.doc").exists()


def test_texts_may_stand_before_and_after_a_flag(prepare_text):
    assert b"train: 3 texts" in prepare_text("a.txt --destdir DATA b.txt --vocabulary byte t.txt")


@pytest.mark.parametrize("kind", ["character", "byte"])
def test_decoding_gives_the_text_and_nothing_else(prepare_text, kind):
    text = "a b\r\n\tna\xefve \u2581 \u2603\n" if kind == "character" else bytes(range(256)) * 2
    symbols = " ".join(decoder(kind).encode(text)).encode()
    exact = text.encode() if kind == "character" else text
    line = f"--decode --vocabulary {kind}"
    assert prepare_text(line, symbols) == prepare_text(line, symbols + b"\n") == exact
    assert prepare_text(line, symbols + b"\n" + symbols) == exact + b"\n" + exact


def reports(rates: dict[int, float]) -> list[str]:
    """Lines of fairseq-train's simple log, given the updates per second up to each update."""
    start = "2026-01-01 00:00:00 | INFO | "
    line = start + "train_inner | epoch 001:     {} / 99 loss=8.1, trunk_nll=2.5, wps=9, ups={}, wall=7"
    inner = [line.format(update, rate) + f", num_updates={update}" for update, rate in rates.items()]
    return [start + "loading data", *inner, start + "valid | epoch 001 | rnn_nll 2.9 | num_updates 100"]


def test_progress_forecasts_the_whole_demo_from_the_rate_after_start_up():
    lines = list(progress.report(reports({25: 1.0, 50: 5.0, 75: 5.0, 100: 5.0}), updates=3000, whole=1.5))
    assert "about 15 minutes" in lines[0] and "DEMO_UPDATES=750" in lines[0]
    assert lines[1:] == [
        "train_inner num_updates 100  trunk_nll 2.5  wall 7",
        "valid       num_updates 100  rnn_nll 2.9",
    ]


def test_progress_without_updates_forecasts_nothing():
    assert len(list(progress.report(reports({25: 1.0, 50: 5.0, 100: 5.0})))) == 2


def test_folders_that_runs_make_do_not_change_what_ruff_says(tmp_path):
    for name in ("pyproject.toml", "fairseq_smt", "benchmarks", "scripts"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for name in ("runs", "outputs", "data-bin", "checkpoints"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "made.py").write_text("import   os, sys")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", tmp_path], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
