"""The commands of docs/classes.md, shortened, in their order."""

import gzip
import re
import struct

import numpy as np
import pytest

from tests.support.commands import ROOT, run
from tests.support.readme import commands
from tests.support.scoring import bits

MODULES = {"fairseq-smt-prepare-pixels": ["python", ROOT / "scripts/prepare_pixels.py"]}


def write_idx(path, content: np.ndarray) -> None:
    header = struct.pack(f">BBBB{content.ndim}I", 0, 0, 8, content.ndim, *content.shape)
    path.write_bytes(gzip.compress(header + content.tobytes()))


@pytest.fixture
def place(tmp_path):
    """A folder in which the page's paths are right, with files that are called like MNIST's."""
    (tmp_path / "fairseq_smt").symlink_to(ROOT / "fairseq_smt")
    random = np.random.default_rng(0)
    for name in ("train", "t10k"):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte.gz", random.integers(0, 256, (40, 28, 28), dtype=np.uint8))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte.gz", random.integers(0, 10, 40, dtype=np.uint8))
    return tmp_path


def test_the_page(place):
    printed = []
    for line in commands(page="docs/classes.md"):
        short = [re.sub(r"^\d+00$", "2", word) for word in line]
        assert line[0] != "fairseq-train" or short != line, "not shortened"
        cpu = [] if line[0] in MODULES else ["--cpu"]
        printed.append(run(*MODULES.get(line[0], line[:1]), *short[1:], *cpu, cwd=place))
    assert len(printed) == 9
    length = (place / "data-bin/mnist14-classes/pixels.json").read_text()
    assert '"height": 14' in length and "--tokens-per-sample 197" in printed[1]
    validated = float(re.findall(r"rnn_nll ([\d.]+)", printed[-2])[-1])
    assert bits(printed[-1]) == pytest.approx(validated, abs=1e-3)
