"""The hydra recipes: they agree with the architectures of the same name, and fairseq-hydra-train runs them."""

import json
from argparse import Namespace
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import get_type_hints

import fairseq  # noqa: F401  (the plugin registers itself when fairseq is there)
import pytest
from fairseq import options
from fairseq.criterions.cross_entropy import CrossEntropyCriterionConfig
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import II, OmegaConf

import fairseq_smt
from fairseq_smt.core.configs import from_flags

fairseq_smt.register()
from fairseq_smt.criterions.chunked_bptt import ChunkedBpttCriterionConfig  # noqa: E402
from fairseq_smt.criterions.dmt import DmtCriterionConfig  # noqa: E402
from fairseq_smt.criterions.smt import SmtCriterionConfig  # noqa: E402
from fairseq_smt.flags import flags_of  # noqa: E402
from fairseq_smt.models.defaults import TRAINING  # noqa: E402
from fairseq_smt.models.presets import LOSSES, PRESETS  # noqa: E402
from fairseq_smt.models.smt_lm import SmtLanguageModelConfig  # noqa: E402
from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig  # noqa: E402
from fairseq_smt.tasks.smt_probe import SmtProbeConfig  # noqa: E402
from tests.support.recipes import FOLDER, hydra, load  # noqa: E402

TEXT = {arch: f"smt_lm model={arch.removeprefix('smt_lm_')}" for arch in PRESETS}
"""Architecture → recipe."""
PROBES = ["smt_probe probe=retrieval", "smt_probe probe=stack"]
RECORDED = json.loads((Path(__file__).parent.parent / "support/recipes.json").read_text())
"""What the recipes that have not been tuned since said when each was one file of its own."""
CONFIGS = {
    "task": {"smt_lm": SmtLanguageModelingConfig, "smt_probe": SmtProbeConfig},
    "model": {"smt_lm": SmtLanguageModelConfig},
    "criterion": {
        "smt": SmtCriterionConfig,
        "dmt": DmtCriterionConfig,
        "chunked_bptt": ChunkedBpttCriterionConfig,
        "cross_entropy": CrossEntropyCriterionConfig,
    },
}
RNN = ("memory_tokens", "memory_width", "cell", "cell_hidden", "cell_layers", "cell_heads", "readout_hidden")


def complete(config: type, given: dict) -> dict:
    """Given values over the dataclass's defaults, without those that are interpolated; fails on an unknown field."""
    assert set(given) <= {f.name for f in fields(config)} | {"_name"}
    plain = {f.name: f.default for f in fields(config) if f.name != "_name" and not str(f.default).startswith("${")}
    return {name: given.get(name, default) for name, default in plain.items()}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_composed_recipe_is_what_it_was_as_one_file(name):
    recipe, recorded = load(name), RECORDED[name]
    for part, expected in recorded.items():
        config = CONFIGS.get(part, {}).get(expected.get("_name"))
        given = recipe[part]
        if config is not None:
            given, expected = complete(config, given), complete(config, expected)
        if part == "model" and expected["memory_head"] == "none":  # sizes of a teacher that is not built
            given, expected = ({field: x[field] for field in RNN} for x in (given, expected))
        assert {k: given[k] for k in expected if expected[k] != "???"} == {
            k: v for k, v in expected.items() if v != "???"
        }
    assert recipe["task"]["_name"] == recorded["task"]["_name"]
    assert recipe["criterion"]["_name"] == recorded["criterion"]["_name"]


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recipe_leaves_everything_else_at_fairseqs_defaults(name):
    plain = OmegaConf.to_container(OmegaConf.structured(FairseqConfig), resolve=False)
    recipe, recorded = load(name), RECORDED[name]
    for part, values in plain.items():
        if isinstance(values, dict) and part not in CONFIGS:
            given = recorded.get(part, {})
            assert {k: recipe[part][k] for k in values if k not in given} == {
                k: v for k, v in values.items() if k not in given
            }


@pytest.mark.parametrize("criterion", list(TRAINING))
@pytest.mark.parametrize("name", [*TEXT.values(), *PROBES])
def test_any_model_goes_with_any_training_and_names_known_fields(name, criterion):
    recipe = load(f"{name} training={TRAINING[criterion]}")
    assert recipe["criterion"]["_name"] == criterion
    for part, configs in CONFIGS.items():
        complete(configs[recipe[part]["_name"]], recipe[part])


@pytest.mark.parametrize("arch", list(PRESETS))
def test_an_architecture_has_the_sizes_and_losses_of_its_recipe(arch):
    recipe = load(TEXT[arch])
    assert complete(SmtLanguageModelConfig, recipe["model"]) == complete(SmtLanguageModelConfig, PRESETS[arch])
    assert complete(SmtCriterionConfig, recipe["criterion"]) == complete(SmtCriterionConfig, LOSSES[arch])


def test_the_small_model_is_the_default_one():
    assert complete(SmtLanguageModelConfig, PRESETS["smt_lm_small"]) == complete(SmtLanguageModelConfig, {})


def test_no_recipe_has_a_header_that_hydra_warns_of():
    assert not any("@package _group_" in path.read_text() for path in FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("arch", list(PRESETS))
def test_architecture_brings_its_losses_and_flags_come_first(arch, monkeypatch):
    monkeypatch.setattr("sys.argv", ["fairseq-train"])
    line = ["data", "--task", "smt_lm", "--arch", arch, "--criterion", "smt", "--optimizer", "adam"]
    expected = complete(SmtCriterionConfig, LOSSES[arch])
    for flags in ([], ["--future-weight", "0.25"]):
        args = options.parse_args_and_arch(options.get_training_parser(), line + flags)
        found = convert_namespace_to_omegaconf(args)
        assert found.criterion.future_weight == (0.25 if flags else expected["future_weight"])
        assert found.criterion.trunk_weight == expected["trunk_weight"]
        assert found.criterion.label_pairs == expected["label_pairs"]
        assert complete(SmtLanguageModelConfig, {k: found.model[k] for k in PRESETS[arch]}) == complete(
            SmtLanguageModelConfig, PRESETS[arch]
        )


@pytest.mark.parametrize("stage, criterion", [("bptt", "cross_entropy"), ("chunked_bptt", "chunked_bptt")])
@pytest.mark.parametrize("name", TEXT.values())
def test_baseline_differs_in_what_makes_it_one(name, stage, criterion):
    smt, bptt = load(name), load(f"{name} training={stage}")
    model, rnn = (complete(SmtLanguageModelConfig, recipe["model"]) for recipe in (smt, bptt))
    assert {field: model[field] for field in RNN} == {field: rnn[field] for field in RNN}
    assert rnn["memory_head"] == "none" and bptt["criterion"]["_name"] == criterion
    for recipe in (smt, bptt):
        del recipe["model"], recipe["criterion"], recipe["optimization"]["lr"]
        del recipe["checkpoint"]["best_checkpoint_metric"]
        length = recipe["optimization"].pop("max_update")  # which SMT shares with DMT
        intervals = (("dataset", "validate_interval_updates"), ("checkpoint", "save_interval_updates"))
        shares = [recipe[part].pop(interval) / length for part, interval in intervals]
        assert shares == [shares[0]] * 2 and shares[0] <= 0.5
    assert smt == bptt


@pytest.mark.parametrize("name", [*TEXT.values(), PROBES[0]])
def test_dmt_has_the_model_and_data_of_smt_and_starts_from_its_checkpoint(name):
    smt, dmt = load(name), load(f"{name} training=dmt")
    assert dmt["model"] == smt["model"] | {"train_part": "rnn"}
    assert dmt["checkpoint"]["save_dir"] != smt["checkpoint"]["save_dir"]
    assert dmt["checkpoint"]["best_checkpoint_metric"] == smt["checkpoint"]["best_checkpoint_metric"]
    for part, own in (("common", {"tensorboard_logdir"}), ("task", {"tokens_per_sample", "curriculum_start"})):
        assert {k: v for k, v in dmt[part].items() if k not in own} == {
            k: v for k, v in smt[part].items() if k not in own
        }


def test_the_text_recipes_of_dmt_are_the_criterions_defaults_and_the_papers_is_the_papers():
    for arch, name in TEXT.items():
        found = complete(DmtCriterionConfig, load(f"{name} training=dmt")["criterion"])
        paper = dict(rollout="sequential", drift_weight=10.0, readout_weight=1.0, drift_backprop=1, ce_backprop=0)
        assert found == complete(DmtCriterionConfig, paper if arch == "smt_lm_paper" else {})


@pytest.mark.parametrize(
    "choices, updates", [("model=tiny training=bptt", 80), ("model=tiny training=chunked_bptt", 8), ("model=paper", 2)]
)
def test_hydra_runs_the_recipe(data, tmp_path, choices, updates):
    assert hydra(tmp_path, f"smt_lm {choices}", data, f"optimization.max_update={updates}").exists()


def test_hydra_runs_smt_then_dmt(data, tmp_path):
    smt = hydra(tmp_path, "smt_lm model=tiny training=smt", data, "optimization.max_update=80")
    start = f"checkpoint.finetune_from_model={smt}"
    dmt = hydra(tmp_path, "smt_lm model=tiny training=dmt", data, start, "optimization.max_update=8")
    assert smt.exists() and dmt.exists()
    log = (tmp_path / "hydra_train.log").read_text()
    assert f"checkpoints: {tmp_path}/" in log and f"TensorBoard: {tmp_path}/" in log


def test_flags_and_an_objective_are_made_from_one_another():
    @dataclass
    class Objective:
        kind: str = field(default="a", metadata={"help": "which"})
        passes: int = field(default=1, metadata={"help": "how often", "flag": "warm_passes"})
        seed: int = 2

    @dataclass
    class Config(flags_of(Objective, choices={"kind": ("a", "b")})):
        seed: int = II("common.seed")
        max_update: int = 0

    found = {f.name: (f.default, dict(f.metadata)) for f in fields(Config) if f.name != "_name"}
    assert list(found) == ["kind", "warm_passes", "seed", "max_update"]
    assert found["kind"] == ("a", {"help": "which"}) and found["warm_passes"] == (1, {"help": "how often"})
    kinds = get_type_hints(Config)["kind"]
    made = from_flags(Objective, Config(kind=kinds.b, warm_passes=3, seed=4))
    assert made == Objective("b", 3, 4) and type(made.kind) is str
    assert from_flags(Objective, Namespace(warm_passes=3)) == Objective(passes=3)
