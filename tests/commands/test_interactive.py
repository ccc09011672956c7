"""fairseq-interactive continues prompts: ordinary, empty, long, with unknown characters, and in batches."""

import re

import pytest

from tests.conftest import BLOCKS, fairseq

LONG = "A prompt that is much longer than the block of thirty-two symbols that the model was trained on. " * 3
PROMPTS = ["The list", "", LONG.strip(), "snow☃man €", "x"]
ALONE = ("--model-overrides", "{'memory_head': 'none'}")


def interact(data, trained, folder, *flags, prompts=PROMPTS, blocks=BLOCKS) -> tuple[list[str], str]:
    """Detokenised greedy continuations in the prompts' order, and the log."""
    (folder / "prompts").write_text("".join(p + "\n" for p in prompts))
    common = ["--path", trained / "checkpoint_last.pt", "--input", folder / "prompts", "--cpu", *ALONE]
    log = fairseq("interactive", data, *blocks, *common, *flags)
    return [text for _, text in re.findall(r"^D-(\d+)\t[^\t]+\t(.*)$", log, re.M)], log


def test_prompts_are_continued_alone_and_in_a_batch(data, trained, tmp_path):
    flags = ["--beam", 1, "--max-len-a", 1, "--max-len-b", 20, "--min-len", 20]
    alone, log = interact(data, trained, tmp_path, *flags)
    assert len(alone) == len(PROMPTS)
    known = PROMPTS[3].replace("☃", "\ufffd").replace("€", "\ufffd")
    for prompt, text in zip([*PROMPTS[:3], known, PROMPTS[4]], alone, strict=True):
        assert text.startswith(prompt) and len(prompt) + 2 < len(text) <= len(prompt) + 21
        assert "\ufffd" not in text[len(prompt) :]
    assert re.search(r"read as <unk> in the prompt 'snow☃man €': ☃ €", log)
    together, _ = interact(data, trained, tmp_path, *flags, "--buffer-size", 5, "--batch-size", 5)
    assert together == alone


def test_one_length_for_all_prompts_of_a_batch(data, trained, tmp_path):
    """Without --max-len-a all rows are in one batch; --min-len holds for the short prompts, too."""
    flags = ["--bpe", "characters", "--beam", 1, "--max-len-b", 60, "--min-len", 50]
    blocks = [flag for flag in BLOCKS if flag != "--add-bos-token"]
    alone, log = interact(data, trained, tmp_path, *flags, blocks=blocks)
    together, _ = interact(data, trained, tmp_path, *flags, "--buffer-size", 5, "--batch-size", 5, blocks=blocks)
    assert together == alone
    assert alone[0].startswith("The list") and all(len(text) >= 50 for text in alone)
    assert alone[2] == LONG[:60] and re.search(r"a prompt of 290 symbols fills --max-len-b.*--max-len-a 1", log)


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--bpe", "bytes", "--max-len-b", 9], "no symbol of the prompt '☃☃' is in DATA's dictionary"),
        (["--min-len", 30, "--max-len-b", 20], "--min-len 30 is larger than --max-len-b 20"),
    ],
    ids=["encoding", "lengths"],
)
def test_flags_that_do_not_fit(data, trained, tmp_path, flags, sentence):
    (tmp_path / "prompts").write_text("☃☃\n")
    common = ["--path", trained / "checkpoint_last.pt", "--input", tmp_path / "prompts", "--cpu", *BLOCKS]
    output = fairseq("interactive", data, *common, *flags, ok="--bpe" in flags)
    assert sentence in output and "Traceback" not in output
