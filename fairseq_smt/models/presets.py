"""The architectures of `--arch`: a file of `fairseq_smt/config/model` each, which the hydra recipes read too."""

from pathlib import Path
from typing import Any

from fairseq.models import register_model_architecture
from omegaconf import OmegaConf

CONFIG = Path(__file__).parent.parent / "config"


def section(file: Path, name: str) -> dict[str, Any]:
    """A section of a config file without the `_name` in it; empty where the file or the section is absent."""
    found = OmegaConf.load(file).get(name, {}) if file.exists() else {}
    return {key: value for key, value in found.items() if key != "_name"}


PRESETS = {f"smt_lm_{file.stem}": section(file, "model") for file in sorted((CONFIG / "model").glob("*.yaml"))}
"""Sizes by architecture."""

LOSSES = {arch: section(CONFIG / f"numbers/{arch.removeprefix('smt_lm_')}_smt.yaml", "criterion") for arch in PRESETS}
"""Options of criterion `smt` that an architecture brings along; a flag on the command line comes first."""


def _register(arch: str) -> None:
    @register_model_architecture("smt_lm", arch)
    def fill(args) -> None:
        for name, value in {**PRESETS[arch], **LOSSES[arch]}.items():
            setattr(args, name, getattr(args, name, value))


for _arch in PRESETS:
    _register(_arch)
