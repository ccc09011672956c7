"""The dependencies, which `pyproject.toml` cannot take from the package: the release of fairseq is said there."""

import re
from pathlib import Path

from setuptools import setup

source = (Path(__file__).parent / "fairseq_smt" / "__init__.py").read_text()

setup(
    install_requires=[
        re.search('^FAIRSEQ = "(.+?)"', source, re.M)[1],
        "torch>=2.6",
        "numpy<2",
        "hydra-core>=1.3",
        "omegaconf>=2.3",
        "sentencepiece",
        "tensorboard",
        "safetensors",
        "tqdm",
        "matplotlib",
        "jinja2",
    ],
)
