"""Data of bytes and of sentencepiece subwords through all commands: bits per byte, and text in the output."""

import json
import re

import pytest

from tests.support.commands import BLOCKS, ROOT, TRAIN, fairseq, run


def prepare(folder, text, *flags):
    (folder / "text.txt").write_text(text)
    run("python", ROOT / "scripts/prepare_text.py", "--destdir", folder / "data", *flags, folder / "text.txt")
    return folder / "data"


def text_of_topics() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics)[:30])[:60000] + "\tnaïve ☃ ▁ ⏎\n"


def trained_and_scored(data, folder) -> None:
    """Two updates; validation's bits per byte agree with the factor that fairseq-eval-lm prints."""
    flags = ["--criterion", "smt", "--max-update", 2, "--save-dir", folder, "--log-format", "json"]
    log = fairseq("train", data, *TRAIN, *flags, "--required-batch-size-multiple", 1)
    valid = json.loads(re.search(r"\| valid \| (\{.*\})", log)[1])
    path = ["--path", folder / "checkpoint_last.pt", "--gen-subset", "valid", "--cpu"]
    log = fairseq("eval-lm", data, *BLOCKS, *path)
    factor, tokens, length = map(
        float, re.search(r"per token × ([\d.]+) \((\d+) scored tokens, (\d+) bytes\)", log).groups()
    )
    count = json.loads((data / "vocabulary.json").read_text())["splits"]["valid"]
    assert (tokens, length) == (count["symbols"] + count["texts"], count["bytes"])
    assert factor == pytest.approx(tokens / length, rel=1e-4)
    for name in ("rnn", "ceiling"):
        bits = float(valid[f"valid_{name}_nll"])
        assert float(valid[f"valid_{name}_bpb"]) == pytest.approx(bits * factor, abs=2e-3)
    loss = float(re.search(r"Loss \(base 2\): ([\d.]+)", log)[1])
    assert loss * factor == pytest.approx(float(valid["valid_rnn_bpb"]), abs=2e-3)


def records(log: str, letter: str) -> list[str]:
    """Texts of fairseq's S, T, H or D records, which may go over several lines."""
    found = re.findall(rf"^{letter}-\d+\t(.*?)(?=\n[STHDPW]-\d+\t|\Z)", log, re.M | re.S)
    return [text.split("\t", 1)[-1] if letter in "HD" else text for text in found]


def test_bytes(tmp_path):
    data = prepare(tmp_path, text_of_topics(), "--vocabulary", "byte")
    assert len((data / "dict.txt").read_text().splitlines()) == 256
    trained_and_scored(data, tmp_path / "run")
    common = ["--path", tmp_path / "run/checkpoint_last.pt", "--gen-subset", "test", "--cpu", "--batch-size", 16]
    length = ["--prefix-size", 10, "--min-len", 30, "--max-len-b", 30, "--beam", 1]
    log = fairseq("generate", data, *BLOCKS, *common, *length, "--bpe", "bytes")
    targets, texts, symbols = (records(log, letter) for letter in "TDH")
    assert len(texts) == len(symbols) > 10
    whole = [x for x in zip(targets, texts, symbols, strict=True) if x[0].isascii() and len(x[0]) > 30]
    assert whole and all(d[:9] == t[:9] for t, d, _ in whole)  # the first of the 10 symbols may be eos
    prompt = " ".join(whole[0][2].split()[:9])  # what follows need not be UTF-8
    decoded = run("python", ROOT / "scripts/prepare_text.py", "--decode", "--vocabulary", "byte", stdin=prompt)
    assert decoded == whole[0][0][:9]


def test_sentencepiece(tmp_path):
    text = text_of_topics()
    data = prepare(tmp_path, text, "--vocabulary", "sentencepiece", "--vocabulary-size", 500)
    assert sorted(path.name for path in data.iterdir() if path.suffix == ".model") == ["sentencepiece.model"]
    trained_and_scored(data, tmp_path / "run")
    (tmp_path / "prompts").write_text("The raise statement\n☃ of snow\n")
    common = ["--path", tmp_path / "run/checkpoint_last.pt", "--cpu", "--input", tmp_path / "prompts", "--beam", 1]
    bpe = ["--bpe", "sentencepiece", "--sentencepiece-model", data / "sentencepiece.model"]
    log = fairseq("interactive", data, *BLOCKS, *common, *bpe, "--max-len-a", 1, "--max-len-b", 10, "--min-len", 16)
    first, second = records(log, "D")
    assert first.startswith("The raise statement") and second.startswith("<0xE2><0x98><0x83> of snow")
    assert "read as <unk>" not in log


def test_prepare_text_refuses_sizes_that_do_not_fit(tmp_path):
    (tmp_path / "text.txt").write_text(text_of_topics())
    script = ["python", ROOT / "scripts/prepare_text.py", "--destdir", tmp_path / "d", tmp_path / "text.txt"]
    for flags, sentence in (
        (["--vocabulary", "sentencepiece", "--vocabulary-size", 10**6], "is too large for this text"),
        (["--vocabulary", "sentencepiece", "--vocabulary-size", 0], "must be positive"),
        (["--vocabulary", "byte", "--vocabulary-size", 100], "remove --vocabulary-size"),
    ):
        output = run(*script, *flags, ok=False)
        assert (
            sentence in output and "Traceback" not in output and sorted(tmp_path.iterdir()) == [tmp_path / "text.txt"]
        )
