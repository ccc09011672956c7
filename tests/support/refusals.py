"""A command that is to be refused, and what it must say."""

from tests.support.commands import TRAIN

SMT = [*TRAIN, "--criterion", "smt", "--max-update", 1, "--disable-validation"]


def refused(output: str, *sentences: str) -> None:
    assert "Traceback" not in output, output[-3000:]
    for sentence in sentences:
        assert sentence in output.strip().splitlines()[-1], output[-3000:]
