"""Package `fairseq-smt`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
source = (root / "fairseq_smt" / "__init__.py").read_text()
version, fairseq = (re.search(f'^{name} = "(.+?)"', source, re.M).group(1) for name in ("__version__", "FAIRSEQ"))

setup(
    name="fairseq-smt",
    version=version,
    description="Recurrent language models pretrained without backpropagation through time: a fairseq plugin",
    long_description=(root / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["fairseq_smt", "fairseq_smt.*"]),
    package_data={"fairseq_smt": ["config/**/*.yaml"]},
    entry_points={
        "console_scripts": [
            "fairseq-smt-cache-labels = fairseq_smt.cli.cache_labels:main",
            "fairseq-smt-diagnose = fairseq_smt.cli.diagnose:main",
            "fairseq-smt-prepare-text = fairseq_smt.cli.prepare_text:main",
            "fairseq-smt-prepare-pixels = fairseq_smt.cli.prepare_pixels:main",
            "fairseq-smt-complete-pixels = fairseq_smt.cli.complete_pixels:main",
        ]
    },
    install_requires=[
        fairseq,
        "torch>=2.6",
        "numpy<2",
        "hydra-core>=1.3",
        "omegaconf>=2.3",
        "sentencepiece",
        "tensorboard",
        "safetensors",
        "tqdm",
        "matplotlib",
    ],
    extras_require={"dev": ["pytest", "pytest-xdist", "hypothesis", "ruff"]},
)
