"""The hydra recipes: they agree with the architectures of the same name, and fairseq-hydra-train runs them."""

from dataclasses import fields
from pathlib import Path

import fairseq  # noqa: F401  (the plugin registers itself when fairseq is there)
import pytest
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

import fairseq_smt
from tests.conftest import run

fairseq_smt.register()
from fairseq_smt.criterions.smt import SmtCriterionConfig  # noqa: E402
from fairseq_smt.models.presets import LOSSES, PRESETS  # noqa: E402
from fairseq_smt.models.smt_lm import SmtLanguageModelConfig  # noqa: E402
from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig  # noqa: E402

FOLDER = Path(fairseq_smt.__file__).parent / "config"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
RNN = ("memory_tokens", "memory_width", "cell", "cell_hidden", "cell_layers", "cell_heads", "readout_hidden")


def load(name: str) -> dict:
    return OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))


def complete(config: type, given: dict) -> dict:
    """Given values over the dataclass's defaults, without those that are interpolated; fails on an unknown field."""
    assert set(given) <= {f.name for f in fields(config)}
    plain = {f.name: f.default for f in fields(config) if f.name != "_name" and not str(f.default).startswith("${")}
    return {name: given.get(name, default) for name, default in plain.items()}


def test_there_is_a_recipe_of_every_architecture_and_its_baseline():
    assert {*PRESETS, *(f"{name}_bptt" for name in PRESETS)} <= set(RECIPES)


@pytest.mark.parametrize("name", list(PRESETS))
def test_recipe_and_architecture_agree(name):
    recipe = load(name)
    assert complete(SmtLanguageModelConfig, recipe["model"]) == complete(SmtLanguageModelConfig, PRESETS[name])
    assert complete(SmtCriterionConfig, recipe["criterion"]) == complete(SmtCriterionConfig, LOSSES.get(name, {}))
    complete(SmtLanguageModelingConfig, recipe["task"])


@pytest.mark.parametrize("arch", list(PRESETS))
def test_architecture_brings_its_losses_and_flags_come_first(arch, monkeypatch):
    monkeypatch.setattr("sys.argv", ["fairseq-train"])
    line = ["data", "--task", "smt_lm", "--arch", arch, "--criterion", "smt", "--optimizer", "adam"]
    expected = complete(SmtCriterionConfig, LOSSES.get(arch, {}))
    for flags in ([], ["--future-weight", "0.25"]):
        args = options.parse_args_and_arch(options.get_training_parser(), line + flags)
        found = convert_namespace_to_omegaconf(args)
        assert found.criterion.future_weight == (0.25 if flags else expected["future_weight"])
        assert found.criterion.trunk_weight == expected["trunk_weight"]
        assert found.criterion.label_pairs == expected["label_pairs"]
        assert complete(SmtLanguageModelConfig, {k: found.model[k] for k in PRESETS[arch]}) == complete(
            SmtLanguageModelConfig, PRESETS[arch]
        )


@pytest.mark.parametrize("name", list(PRESETS))
def test_baseline_differs_in_what_makes_it_one(name):
    smt, bptt = load(name), load(f"{name}_bptt")
    model, rnn = (complete(SmtLanguageModelConfig, recipe["model"]) for recipe in (smt, bptt))
    assert {field: model[field] for field in RNN} == {field: rnn[field] for field in RNN}
    assert rnn["memory_head"] == "none" and bptt["criterion"] == {"_name": "cross_entropy"}
    for recipe in (smt, bptt):
        del recipe["model"], recipe["criterion"], recipe["optimization"]["lr"]
        del recipe["checkpoint"]["best_checkpoint_metric"]
    assert smt == bptt


@pytest.mark.parametrize("name, updates", [("smt_lm_tiny", 80), ("smt_lm_tiny_bptt", 80), ("smt_lm_paper", 2)])
def test_hydra_runs_the_recipe(data, tmp_path, name, updates):
    overrides = ["common.cpu=true", "common.fp16=false", "dataset.batch_size=2", "dataset.disable_validation=true"]
    command = ["fairseq-hydra-train", "--config-dir", FOLDER, "--config-name", name, f"hydra.run.dir={tmp_path}"]
    folders = [f"common.user_dir={FOLDER.parent}", f"task.data={data}"]
    run(*command, *folders, *overrides, f"optimization.max_update={updates}", fresh=name == "smt_lm_tiny")
    assert "done training" in (tmp_path / "hydra_train.log").read_text()
    assert (tmp_path / "checkpoints" / "checkpoint_last.pt").exists()
