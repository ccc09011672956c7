"""How commands end: sentences for what others raise, every character whatever the encoding, quiet without a reader."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fairseq_smt import terminal
from fairseq_smt.errors import ConfigurationError, find_sentence
from tests.support.commands import BLOCKS, ROOT, TRAIN

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("flag", ["--input", "--lm-path", "--sentencepiece-model", "--bpe-codes"])
@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EISDIR])
def test_a_file_that_a_flag_names(monkeypatch, flag, number):
    monkeypatch.setattr("sys.argv", ["fairseq-interactive", flag, "no.txt"])
    assert find_sentence(OSError("file no.txt not found")).startswith(f"{flag} no.txt cannot be read")
    error = OSError(number, os.strerror(number), "no.txt")
    for arguments in ([flag, "no.txt"], [f"{flag}=no.txt"], [flag, os.path.abspath("no.txt")], [flag, "a:no.txt"]):
        monkeypatch.setattr("sys.argv", ["fairseq-interactive", *arguments])
        given = arguments[-1].removeprefix(f"{flag}=")
        sentence = f"{flag} {given} cannot be read ({os.strerror(number)}): name another file."
        assert find_sentence(error) == sentence
    monkeypatch.setattr("sys.argv", ["fairseq-interactive", flag, "yes.txt"])
    assert find_sentence(error) is None


@pytest.mark.parametrize(
    "error, sentence",
    [
        (ValueError("Seed must be between 0 and 2**32 - 1"), "--seed must be"),
        (AssertionError("--batch-size cannot be larger than --buffer-size"), "give a --buffer-size as large"),
        (AssertionError("--sampling requires --nbest to be equal to --beam"), "--sampling requires --nbest"),
        (ValueError("--a and --b\ntogether: {'_name': None, 'x': 1}"), "--a and --b together"),
        (NotImplementedError("--x is not done"), "--x is not done"),
        (ModuleNotFoundError("No module named 'aa.b'", name="aa.b"), "the package aa is missing: run pip install aa."),
        (ImportError("Please install b with: pip install b"), "Please install b with: pip install b."),
        (UnicodeDecodeError("utf-8", b"ab\xe9", 2, 3, "invalid"), "not UTF-8 (it has the byte 0xE9)"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, Exception) else None,
)
def test_what_others_say_of_a_flag(error, sentence):
    assert sentence in find_sentence(error)


@pytest.mark.parametrize(
    "error",
    [
        AssertionError(),
        AssertionError("a - b --"),
        ValueError("x"),
        OverflowError("x"),
        ModuleNotFoundError("x", name="json.x"),
    ],
)
def test_an_error_of_ours_keeps_its_traceback(monkeypatch, error):
    monkeypatch.setattr("sys.argv", ["fairseq-train", "--max-update", "10"])
    assert find_sentence(error) is None


@pytest.mark.parametrize("error", [OverflowError("x"), ValueError("Overflow when unpacking long long")])
@pytest.mark.parametrize("arguments", [["--batch-size", str(10**30)], [f"--seed={-(10**30)}"]])
def test_a_number_beyond_every_range(monkeypatch, error, arguments):
    monkeypatch.setattr("sys.argv", ["fairseq-smt-stream", "--length", "10", *arguments])
    flag, value = arguments if len(arguments) == 2 else arguments[0].split("=")
    assert find_sentence(error).startswith(f"{flag} {value} is larger than")


@pytest.mark.parametrize("text", ["{", "{'a': }", "1k"])
def test_what_is_not_in_pythons_notation(monkeypatch, text):
    monkeypatch.setattr("sys.argv", ["fairseq-validate", "DATA", "--path", "x", "--model-overrides", text])
    with pytest.raises(SyntaxError) as caught:
        eval(text)
    assert find_sentence(caught.value).startswith(f"--model-overrides {text} is not in Python's notation")


@pytest.mark.parametrize("content", [{"save_dir": "x/${y}"}, {"save_dir": "x/${a.b}"}, {"save_dir": "${"}])
def test_an_interpolation_that_leads_nowhere(content):
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.create({"checkpoint": content}).checkpoint.save_dir  # noqa: B018
    assert find_sentence(caught.value).startswith("--save-dir has a ${…}")


def run(*command, **environment) -> subprocess.CompletedProcess:
    """A program of this environment with variables of the system's."""
    argv = [str(BIN / command[0]), *map(str, command[1:])]
    variables = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(argv, cwd=ROOT, env=os.environ | variables, capture_output=True, timeout=300)


ASCII = {"PYTHONIOENCODING": "ascii"}
LOCALE_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_sample_is_printed_in_ascii(data, trained, tmp_path):
    (tmp_path / "prompt.txt").write_text("a b\n")
    flags = ["--user-dir", "fairseq_smt", *BLOCKS, "--path", trained / "checkpoint_last.pt", "--cpu", "--max-len-b", 9]
    done = run("fairseq-interactive", data, *flags, "--beam", 1, "--input", tmp_path / "prompt.txt", **ASCII)
    assert done.returncode == 0 and b"\\u2581" in done.stdout and b"\nD-0" in done.stdout
    assert run("fairseq-smt-prepare-text", "--help", **ASCII).returncode == 0


def test_names_of_files_in_the_locale_c(tmp_path):
    text = tmp_path / "Gedächtnis.txt"
    text.write_text("größer " * 300)
    done = run("fairseq-smt-prepare-text", "--destdir", tmp_path / "größe", text, **LOCALE_C)
    assert done.returncode == 0 and b"wrote" in done.stdout, done.stderr


def test_no_line_of_a_log_is_lost_in_the_locale_c(data, tmp_path):
    flags = ["--user-dir", "fairseq_smt", *TRAIN, "--criterion", "smt", "--max-update", 1, "--disable-validation"]
    flags += ["--no-save", "--save-dir", tmp_path / "größe", "--log-file", tmp_path / "log"]
    done = run("fairseq-train", data, *flags, **LOCALE_C)
    assert done.returncode == 0 and b"Logging error" not in done.stderr + done.stdout
    assert b"memory 2 \\xd7 16" in done.stderr + done.stdout and "done training" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "command",
    [
        "yes 'a b' | fairseq-smt-prepare-text --decode | head -c 9",
        "fairseq-smt-stream models/shakespeare --prompt a --length 100000 | head -c 9",
        "yes a | head -500 | fairseq-interactive $DATA $FLAGS --buffer-size 100 | head -2",
    ],
)
def test_nobody_reads_on(data, trained, command):
    flags = f"--user-dir fairseq_smt {' '.join(BLOCKS)} --path {trained / 'checkpoint_last.pt'} --cpu --beam 1"
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "DATA": str(data), "FLAGS": f"{flags} --max-len-b 10"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=os.environ | environment, text=True, capture_output=True, timeout=300
    )
    assert not [word for word in ("Traceback", "BrokenPipe", "Exception") if word in done.stderr], done.stderr[-2000:]


def test_another_pipe_that_breaks_is_an_error(monkeypatch):
    monkeypatch.setattr(terminal, "reader_is_gone", lambda: False)
    assert terminal.ending(BrokenPipeError()) is None


def test_a_traceback_can_be_had(monkeypatch):
    monkeypatch.setenv("FAIRSEQ_SMT_TRACEBACK", "1")
    with pytest.raises(ConfigurationError), terminal.command():
        raise ConfigurationError("no.")
    monkeypatch.delenv("FAIRSEQ_SMT_TRACEBACK")
    with pytest.raises(SystemExit, match="error: no.$"), terminal.command():
        raise ConfigurationError("no.")
