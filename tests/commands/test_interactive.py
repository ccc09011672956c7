"""fairseq-interactive continues prompts: ordinary, empty, long, with unknown characters, and in batches."""

import re

from tests.support.commands import BLOCKS, fairseq

LONG = "A prompt that is much longer than the block of thirty-two symbols that the model was trained on. " * 3
PROMPTS = ["The list", "", LONG.strip(), "snow☃man €", "☃☃"]
ALONE = ("--model-overrides", "{'memory_head': 'none'}")


def interact(data, trained, *flags, blocks=BLOCKS) -> tuple[list[str], str]:
    """Detokenised greedy continuations in the prompts' order, and the log."""
    common = ["--path", trained / "checkpoint_last.pt", "--cpu", *ALONE]
    log = fairseq("interactive", data, *blocks, *common, *flags, stdin="".join(p + "\n" for p in PROMPTS))
    return [text for _, text in re.findall(r"^D-(\d+)\t[^\t]+\t(.*)$", log, re.M)], log


def test_prompts_are_continued_alone_and_in_a_batch(data, trained):
    flags = ["--beam", 1, "--max-len-a", 1, "--max-len-b", 20, "--min-len", 20]
    alone, log = interact(data, trained, *flags)
    assert len(alone) == len(PROMPTS)
    known = [p.replace("☃", "\ufffd").replace("€", "\ufffd") for p in PROMPTS]
    for prompt, text in zip(known, alone, strict=True):
        assert text.startswith(prompt) and len(prompt) + 2 < len(text) <= len(prompt) + 20
        assert "\ufffd" not in text[len(prompt) :]
    assert re.search(r"read as <unk> in the prompt 'snow☃man €': ☃ €", log)
    assert "no symbol of the prompt '☃☃' is in DATA's dictionary" in log
    together, _ = interact(data, trained, *flags, "--buffer-size", 5, "--batch-size", 5)
    assert together == alone


def test_one_length_for_all_prompts_of_a_batch(data, trained):
    """Without --max-len-a all rows are in one batch; --min-len holds for the short prompts, too."""
    flags = ["--bpe", "characters", "--beam", 1, "--max-len-b", 60, "--min-len", 50]
    blocks = [flag for flag in BLOCKS if flag != "--add-bos-token"]
    alone, log = interact(data, trained, *flags, blocks=blocks)
    together, _ = interact(data, trained, *flags, "--buffer-size", 5, "--batch-size", 5, blocks=blocks)
    assert together == alone
    assert alone[0].startswith("The list") and all(len(text) >= 50 for text in alone)
    assert alone[2] == LONG[:60] and re.search(r"a prompt of 290 symbols fills --max-len-b.*--max-len-a 1", log)


def test_samples_are_those_of_fairseqs_own_loop(data, trained):
    """Blocking n-grams that no text repeats changes nothing, but is left to fairseq's loop."""
    flags = ["--beam", 1, "--sampling", "--sampling-topp", 0.9, "--max-len-b", 60, "--seed", 3]
    flags += ["--buffer-size", 5, "--batch-size", 5]
    found, _ = interact(data, trained, *flags)
    assert len(found) == len(PROMPTS)
    assert found == interact(data, trained, *flags, "--no-repeat-ngram-size", 50)[0]


def test_a_shortest_length_above_the_longest(data, trained):
    common = ["--path", trained / "checkpoint_last.pt", "--cpu", *BLOCKS]
    output = fairseq("interactive", data, *common, "--min-len", 30, "--max-len-b", 20, ok=False)
    assert "--min-len 30 is larger than --max-len-b 20" in output and "Traceback" not in output
