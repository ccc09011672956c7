"""The recipes: composed, and run by fairseq-hydra-train."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import fairseq  # noqa: F401  (the plugin registers itself when fairseq is there)
from fairseq.dataclass.initialize import hydra_init
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

import fairseq_smt
from tests.support.commands import run

FOLDER = Path(fairseq_smt.__file__).parent / "config"


@cache
def compose(recipe: str) -> dict:
    """A recipe such as `smt_lm model=base training=dmt`, as fairseq-hydra-train composes it."""
    name, *choices = recipe.split()
    hydra_init(name)
    with initialize_config_dir(str(FOLDER), version_base="1.1"):
        return OmegaConf.to_container(hydra_compose(name, choices), resolve=False)


def load(recipe: str) -> dict:
    return deepcopy(compose(recipe))


def hydra(folder: Path, recipe: str, data: Path, *overrides: str) -> Path:
    """Run a recipe in a folder on the CPU and return its last checkpoint."""
    command = ["fairseq-hydra-train", "--config-dir", FOLDER, "--config-name", *recipe.split()]
    command += [f"common.user_dir={FOLDER.parent}", f"task.data={data}", "common.cpu=true", "common.fp16=false"]
    run(*command, f"hydra.run.dir={folder}", "dataset.batch_size=2", "dataset.disable_validation=true", *overrides)
    assert "done training" in (folder / "hydra_train.log").read_text()
    return folder / load(recipe)["checkpoint"]["save_dir"] / "checkpoint_last.pt"
