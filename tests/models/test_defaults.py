"""What a command line may leave out, and fairseq's own refusals as sentences."""

import fairseq  # noqa: F401
import pytest
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim.lr_scheduler.tri_stage_lr_scheduler import TriStageLRSchedule, TriStageLRScheduleConfig
from omegaconf import OmegaConf

import fairseq_smt
from fairseq_smt.errors import ConfigurationError, find_sentence
from tests.support.config import config as config_of
from tests.support.recipes import compose

fairseq_smt.register()
from fairseq_smt.models.defaults import TRAINING  # noqa: E402

LINE = ["data", "--task", "smt_lm", "--arch", "smt_lm_base"]
PARSERS = {
    "train": options.get_training_parser,
    "validate": options.get_validation_parser,
    "eval-lm": options.get_eval_lm_parser,
    "generate": options.get_generation_parser,
    "interactive": options.get_interactive_generation_parser,
}


def parse(command: str, line: list[str], monkeypatch):
    """fairseq's config of a command line."""
    monkeypatch.setattr("sys.argv", [f"fairseq-{command}"])
    parser = PARSERS[command]()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, line))


@pytest.mark.parametrize("criterion", list(TRAINING))
def test_optimizer_rate_and_batch_size_come_from_the_recipe(criterion, monkeypatch):
    found, recipe = (
        parse("train", [*LINE, "--criterion", criterion], monkeypatch),
        compose(f"smt_lm model=base training={TRAINING[criterion]}"),
    )
    assert found.optimizer._name == recipe["optimizer"]["_name"]
    assert list(found.optimization.lr) == list(found.optimizer.lr) == recipe["optimization"]["lr"]
    assert found.dataset.batch_size == found.dataset.batch_size_valid == recipe["dataset"]["batch_size"]


def test_flags_come_before_the_recipe(monkeypatch):
    line = [*LINE, "--criterion", "smt"]
    found = parse("train", [*line, "--lr", "0.25", "--batch-size", "3", "--weight-decay", "0.5"], monkeypatch)
    assert (list(found.optimization.lr), found.dataset.batch_size, found.optimizer.weight_decay) == ([0.25], 3, 0.5)
    found = parse("train", [*line, "--optimizer", "sgd", "--max-tokens", "99"], monkeypatch)
    assert (found.optimizer._name, found.dataset.batch_size, found.dataset.max_tokens) == ("sgd", None, 99)
    assert list(found.optimization.lr) == [0.25]


def test_other_models_tasks_and_commands_keep_what_fairseq_has(monkeypatch):
    found = parse("train", ["data", "--task", "language_modeling", "--arch", "transformer_lm"], monkeypatch)
    assert found.optimizer is None and found.dataset.batch_size is None and list(found.optimization.lr) == [0.25]
    assert parse("eval-lm", ["data", "--task", "smt_lm"], monkeypatch).dataset.batch_size is None
    assert parse("generate", ["data", "--task", "smt_lm"], monkeypatch).dataset.batch_size is None
    assert parse("validate", ["--task", "smt_probe"], monkeypatch).dataset.batch_size == 8


@pytest.mark.parametrize(
    "error, words",
    [
        (AssertionError("Must specify batch size either with --max-tokens or --batch-size"), "give --batch-size or"),
        (ValueError("optimizer is required!"), "give --optimizer"),
    ],
)
def test_what_fairseq_lacks_is_named_in_a_sentence(error, words):
    assert words in find_sentence(error)
    assert find_sentence(AssertionError("anything else")) is None


class Optimizer:
    """Notes its learning rate."""

    def set_lr(self, lr: float) -> None:
        self.lr = lr


def tri_stage(**options) -> list[float]:
    """The learning rates of five updates."""
    from fairseq.optim import FairseqOptimizer

    optimizer = type("Noting", (Optimizer, FairseqOptimizer), {})(None)
    config = OmegaConf.structured(TriStageLRScheduleConfig(**{"lr": [1.0], "final_lr_scale": 0.05, **options}))
    schedule = TriStageLRSchedule(config, optimizer)
    return [schedule.step_update(n) for n in range(5)]


def test_a_decay_shorter_than_an_update_and_longer_ones():
    phases = [0.0125, 0.5875, 0.4]
    assert tri_stage(phase_ratio=phases, max_update=2) == pytest.approx([1, 1, 0.05, 0.05, 0.05])
    assert tri_stage(phase_ratio=[0.2, 0.4, 0.4], max_update=5) == tri_stage(
        warmup_steps=1, hold_steps=2, decay_steps=2, phase_ratio=None, max_update=5
    )


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(phase_ratio=[0.1, 0.5, 0.4], max_update=0), "give --max-update"),
        (dict(phase_ratio=[0.1, 0.5, 0.5], max_update=9), "add up to 1"),
        (dict(phase_ratio=None, hold_steps=3, max_update=9), "positive --decay-steps"),
        (dict(phase_ratio=[0.1, 0.5, 0.4], max_update=9, final_lr_scale=0), "--final-lr-scale"),
    ],
)
def test_phases_that_cannot_work(options, words):
    with pytest.raises(ConfigurationError, match=words):
        tri_stage(**options)


TORCHRUN = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "RANK": "1", "WORLD_SIZE": "2"}


def test_processes_of_torchrun_on_cpu(monkeypatch):
    """A test runs the whole command: docs/how-to/several-processes.md."""
    line = ["DATA", "--task", "smt_lm", "--arch", "smt_lm_tiny", "--criterion", "smt"]
    assert config_of(monkeypatch, "train", *line).distributed_training.distributed_world_size == 1
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    found = config_of(monkeypatch, "train", *line)
    processes = found.distributed_training
    assert (processes.distributed_rank, processes.distributed_world_size, processes.distributed_backend) == (
        1,
        2,
        "gloo",
    )
    assert processes.distributed_no_spawn and found.common.cpu
    given = config_of(monkeypatch, "train", *line, "--distributed-world-size", 4).distributed_training
    assert given.distributed_world_size == 4


def test_bf16_asks_for_no_tpu(monkeypatch):
    line = ["DATA", "--task", "smt_lm", "--arch", "smt_lm_tiny", "--criterion", "smt"]
    found = config_of(monkeypatch, "train", *line, "--bf16").common
    assert found.bf16 and not found.tpu
    assert config_of(monkeypatch, "train", *line, "--bf16", "--tpu").common.tpu
