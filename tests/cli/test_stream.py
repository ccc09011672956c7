"""fairseq-smt-stream: what it writes and scores, where it goes on, how it ends, and in how much memory."""

import os
import re
import signal
import subprocess
import sys

import pytest
import torch

from fairseq_smt.cli.stream import main
from fairseq_smt.pretrained import Pretrained
from fairseq_smt.pretrained.stream import Stream
from tests.support.commands import ROOT
from tests.support.exports import TEXT, export

CODE = "import sys; from fairseq_smt.cli.stream import main\nsys.argv[0] = 'fairseq-smt-stream'\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "byte"
    export(path, "byte")
    return path


def start(folder, *flags, code=CODE + "main()", **kwargs) -> subprocess.Popen:
    command = [sys.executable, "-W", "ignore", "-c", code, folder, *map(str, flags)]
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}

    def listen():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests in the background ignore it

    return subprocess.Popen(command, cwd=ROOT, preexec_fn=listen, **pipes | kwargs)


def run(capfdbinary, *argv, status=0) -> tuple[bytes, str]:
    """What the command prints in this process."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, argv)])
    assert ended.value.code == status or status == 1 and isinstance(ended.value.code, str)
    output = capfdbinary.readouterr()
    return output.out, output.err.decode() + (ended.value.code if status == 1 else "")


def test_text_follows_the_prompt(folder, capfdbinary):
    model = Pretrained.load(folder)
    stream = Stream(model, generator=torch.Generator().manual_seed(5), temperature=0.7, top_k=50, top_p=0.9)
    stream.read(model.text.encode("To be"))
    expected = b"".join(model.text.bytes[stream.next()] for _ in range(80)).decode(errors="replace")
    flags = ["--length", 80, "--seed", 5, "--temperature", 0.7, "--top-k", 50, "--top-p", 0.9]
    found, _ = run(capfdbinary, folder, "--prompt", "To be", *flags)
    assert expected.startswith(found.decode()) and len(expected) - len(found.decode()) <= 1


def test_two_commands_with_a_state_are_one(folder, tmp_path, capfdbinary):
    whole, _ = run(capfdbinary, folder, "--prompt", "é", "--length", 99, "--seed", 2)
    for extra in (["--prompt", "é", "--length", 50, "--seed", 2], ["--prompt", "", "--length", 49]):
        whole = whole.removeprefix(run(capfdbinary, folder, *extra, "--state", tmp_path / "s")[0])
    assert whole == b"" and [p.name for p in tmp_path.iterdir()] == ["s"]
    for kind in ("character", "byte"):
        export(tmp_path / kind, kind, seed=1)
        _, error = run(capfdbinary, tmp_path / kind, "--prompt", "", "--state", tmp_path / "s", status=1)
        assert "s holds the memory of another model: name another file by --state" in error


def test_scoring_in_pieces_is_scoring_the_whole(folder, capfdbinary):
    model = Pretrained.load(folder)
    bits = Stream(model).read(model.text.encode(TEXT))
    process = start(folder, "--score")
    output, error = process.communicate(TEXT.encode())
    found = re.fullmatch(r"([\d.]+) bits per character, ([\d.]+) per byte \((\S+) char.*\n", output.decode())
    assert float(found[1]) == pytest.approx(bits / len(TEXT), rel=1e-4) and found[3] == f"{len(TEXT):,}"
    assert float(found[2]) == pytest.approx(bits / len(TEXT.encode()), rel=1e-4)
    assert error.count(b"\n") == len(TEXT) // 10_000 and b", 10,000 symbols)" in error.splitlines()[0]
    short, _ = run(capfdbinary, folder, "--score", "--prompt", "é")
    assert b"(1 characters, 2 bytes, 2 symbols)" in short


def test_unknown_characters_are_told_and_bad_input_is_refused(tmp_path, capfdbinary):
    export(tmp_path / "out", "character")
    _, told = run(capfdbinary, tmp_path / "out", "--score", "--prompt", "to 中 be 文中")
    assert told == "not in the dictionary and read as <unk>: 中 文\n"
    for flags, sentence in [
        (["--prompt", "a\udcff"], "error: --prompt is not UTF-8, byte 1 is 0xFF"),
        (["--prompt", "", "--score"], "--score has read no text: pipe one in, or give it by --prompt"),
        (["--prompt", "", "--length", "-1"], "--length must not be negative, got -1"),
        (["--prompt", "", "--top-p", "0"], "top_p must lie in"),
        (["--prompt", "", "--state", tmp_path / "absent" / "s"], "cannot be written"),
    ]:
        assert sentence in run(capfdbinary, tmp_path / "out", *flags, status=1)[1]
    assert "does not exist" in run(capfdbinary, tmp_path / "absent", status=1)[1]
    (tmp_path / "out" / "dict.txt").write_text("")
    assert "dict.txt is damaged, or of another export" in run(capfdbinary, tmp_path / "out", status=1)[1]


def test_ctrl_c_saves_the_state_and_goes_on_from_there(folder, tmp_path, capfdbinary):
    whole, _ = run(capfdbinary, folder, "--prompt", "", "--length", 10_000, "--seed", 2)
    process = start(folder, "--length", 0, "--seed", 2, "--state", tmp_path / "s", stdin=subprocess.DEVNULL)
    head = os.read(process.stdout.fileno(), 100)  # `communicate` knows of no buffer
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error == b"" and output.endswith(b"\n")
    written = head + output[:-1]
    assert whole.startswith(written), "a test's machine that writes 10,000 symbols before it is interrupted?"
    again, _ = run(capfdbinary, folder, "--prompt", "", "--length", 50, "--state", tmp_path / "s")
    assert whole.startswith(written + again) and not (tmp_path / "s.lock").exists()


def test_ctrl_c_while_it_waits_for_text_shows_the_score_so_far(folder):
    process = start(folder, "--score")
    process.stdin.write(b"a" * 10_000)
    process.stdin.flush()
    assert b"10,000" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and b"(10,000 characters" in process.stdout.read()
    process.stdin.close()


def test_a_closed_pipe_ends_it_quietly(folder):
    process = start(folder, "--length", 0, stdin=subprocess.DEVNULL)
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(60) == 0 and process.stderr.read() == b""


def test_memory_does_not_grow_and_fairseq_is_not_loaded(folder):
    code = CODE + (
        "import resource\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, *sys.modules)"
    )
    peaks = []
    for symbols in (1, 100_000):
        output, _ = start(folder, "--score", code=code).communicate(b"e" * symbols)
        peak, *modules = output.decode().splitlines()[-1].split()
        peaks.append(int(peak) / 1024)
        assert f"({symbols:,} characters" in output.decode()
        assert not {"fairseq", "omegaconf", "matplotlib", "sentencepiece", "torch._dynamo"} & set(modules)
    assert peaks[1] - peaks[0] < 5, peaks


def test_memory_does_not_grow_with_what_is_written(folder):
    """In one process, because each takes seconds to start."""
    code = (
        "import resource, sys\nfrom fairseq_smt.cli.stream import main\n"
        "for length in ('1', '10000'):\n    try:\n        main([sys.argv[1], '--length', length])\n"
        "    except SystemExit:\n"
        "        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    output, error = start(folder, code=code, stdin=subprocess.DEVNULL).communicate()
    first, last = map(int, error.split())
    assert last - first < 5 * 1024 and len(output) > 10_000


def test_help_does_not_wait_for_torch(folder):
    code = "import sys\ntry:\n    from fairseq_smt.cli.stream import main; main(['--help'])\nexcept SystemExit:\n"
    output, _ = start(folder, code=code + "    print('torch' in sys.modules)").communicate()
    assert output.decode().splitlines()[-1] == "False"
