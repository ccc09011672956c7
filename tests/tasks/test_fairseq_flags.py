"""Every value of fairseq's flags that our tasks cannot serve is refused before any work, and no other value is."""

import os

import pytest
from fairseq import tasks

import fairseq_smt
from fairseq_smt.errors import ConfigurationError
from tests.support.commands import BLOCKS, TRAIN, fairseq
from tests.support.config import config

fairseq_smt.register()
from fairseq_smt.tasks.fairseq_flags import TABLE  # noqa: E402

SMT = [*TRAIN, "--criterion", "smt"]
SCORING = [*BLOCKS, "--path", "checkpoint.pt"]
LONG = "99999999999999999999999"
REFUSED = {
    "train": [
        *(f"--criterion {name}" for name in ("ctc", "masked_lm", "sentence_ranking", "legacy_masked_lm_loss")),
        *("--criterion adaptive_loss", "--sentence-avg", "--ddp-backend fully_sharded", "--ddp-backend=fully_sharded"),
        *(
            "--dataset-impl fasta",
            "--profile",
            "--optimizer-overrides 5",
            "--amp --fp16",
            "--amp --bf16",
            "--tensorboard-figures",
            "--valid-subset=",
            "--valid-subset valid,",
        ),
        *("--combine-valid-subsets --valid-subset test", "--seed -1", f"--seed {2**31}", f"--seed {LONG}"),
        *(
            f"--fixed-validation-seed {LONG}",
            "--num-workers -1",
            f"--num-workers {10**6}",
            "--log-interval 0",
            "--required-batch-size-multiple 0",
        ),
        *("--fp16-init-scale 0", "--fp16-scale-window 0", "--save-interval 0", "--validate-interval 0"),
        *("--max-valid-steps -1", "--max-epoch -1", "--max-update -1", "--save-interval 5 --max-epoch 2"),
        *("--keep-interval-updates-pattern 0", "--checkpoint-suffix a/b", "--update-freq 0", "--update-freq 1,0"),
        *("--lr -1", "--lr=", "--ema-decay 2 --store-ema", "--ema-decay nan --store-ema"),
    ],
    "eval-lm": [
        *("--context-window -1", "--post-process sentencepiece", "--num-shards 0", "--num-shards 2 --shard-id 2"),
        *("--shard-id -1 --num-shards 1", "--softmax-batch 0"),
    ],
    "generate": ["--print-alignment hard", "--constraints ordered", "--replace-unk words", "--beam 0"],
    "interactive": [
        *("--print-alignment soft", "--constraints", "--replace-unk", "--lm-path lm.pt", "--post-process nosuch"),
        *("--model-overrides {", "--model-overrides 5", "--model-overrides [1]", "--beam -1"),
    ],
}
SERVED = {
    "train": [
        "--criterion cross_entropy --sentence-avg --fp16 --combine-valid-subsets --seed 0 --store-ema --ema-decay 0.5 "
        "--tensorboard-figures --tensorboard-logdir tb --save-interval 5 --max-epoch 2 --max-update 9 --num-workers 0",
        "--criterion dmt --bf16 --fixed-validation-seed -1 --update-freq 2,1 --max-valid-steps 0 --save-interval 5 "
        "--max-epoch 5 --checkpoint-suffix=-a --keep-interval-updates-pattern 3 --valid-subset valid,test",
        "--amp --save-interval 5 --max-epoch 2 --no-save --criterion label_smoothed_cross_entropy",
    ],
    "eval-lm": ["", "--post-process subword_nmt --context-window 10 --num-shards 2 --shard-id 1"],
    "interactive": ["--post-process sentencepiece --model-overrides {'a':1}"],
    "generate": ["--model-overrides dict(a=1) --lm-path lm.pt"],
}
"""Values beside those above."""


def setup(monkeypatch, data, command, flags):
    cfg = config(
        monkeypatch, command, data, *(SMT if command == "train" else SCORING), *flags.split(" " if flags else None)
    )
    return cfg, tasks.setup_task(cfg.task)


def cases(table):
    return [(command, flags) for command, lines in table.items() for flags in lines]


@pytest.mark.parametrize("command, flags", cases(REFUSED))
def test_a_value_that_cannot_be_served_is_refused(monkeypatch, data, command, flags):
    with pytest.raises(ConfigurationError) as caught:
        setup(monkeypatch, data, command, flags)
    sentence = str(caught.value)
    assert sentence.startswith("--") and sentence.endswith(".")
    assert sentence.split()[0] in [part.split("=")[0] for part in flags.split()]


@pytest.mark.parametrize("command, flags", cases(SERVED))
def test_a_value_beside_it_is_not(monkeypatch, data, command, flags):
    setup(monkeypatch, data, command, flags)


def test_every_row_of_the_table_has_an_example():
    shown = [flags.replace("=", " ").split()[0] for _, flags in cases(REFUSED)]
    shown += ["--context-window", "--fp16"]  # in a test of its own; --fp16 --bf16, which fairseq refuses itself
    missing = [row.flag for row in TABLE if shown.count(row.flag) < [r.flag for r in TABLE].count(row.flag)]
    assert not missing


@pytest.mark.parametrize("window", [32, 1000, 10**30])
def test_a_context_window_as_long_as_a_block(data, trained, window):
    flags = ["--path", trained / "checkpoint_last.pt", "--cpu", "--context-window", window]
    output = fairseq("eval-lm", data, *BLOCKS, *flags, ok=False)
    assert f"error: --context-window {window} leaves nothing of a block" in output and "Traceback" not in output


@pytest.mark.parametrize("flags", [["--save-interval", 0], ["--lr", "-1"], ["--criterion", "ctc"]], ids=str)
def test_nothing_is_written_before_a_refusal(data, tmp_path, flags):
    output = fairseq("train", data, *SMT, "--max-update", 3, "--save-dir", tmp_path, *flags, ok=False)
    assert "Traceback" not in output and "fairseq-train: error: --" in output
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_is_read_whatever_flags_it_was_trained_with(monkeypatch, data):
    """The table is about the command that runs."""
    cfg = config(monkeypatch, "train", data, *SMT)
    cfg.optimization.sentence_avg = True
    tasks.setup_task(cfg.task, from_checkpoint=True)
    with pytest.raises(ConfigurationError, match="--sentence-avg"):
        tasks.setup_task(cfg.task)
