"""Damaged files and lines that cannot work, by the commands: one sentence, a non-zero exit, and nothing is touched."""

import pytest

from tests.support.commands import BLOCKS, ROOT, fairseq, run
from tests.support.label_cache import cache, contents, copy_of, file_of, flip
from tests.support.refusals import SMT, refused


def test_a_damaged_checkpoint_is_left_as_it_is(data, trained, tmp_path):
    path = tmp_path / "checkpoint_last.pt"
    path.write_bytes((trained / "checkpoint_last.pt").read_bytes()[:-100])
    before = contents(tmp_path)
    refused(fairseq("train", data, *SMT, "--save-dir", tmp_path, ok=False), f"{path} is damaged", "remove it")
    scored = fairseq("eval-lm", data, *BLOCKS, "--path", path, "--gen-subset", "test", "--cpu", ok=False)
    refused(scored, f"{path} is damaged")
    assert contents(tmp_path) == before


def test_the_label_cache_wants_a_checkpoint(data, trained, tmp_path):
    labels, path = tmp_path / "labels", tmp_path / "a.pt"
    path.write_bytes((trained / "checkpoint_last.pt").read_bytes()[:-1])
    command = ["python", "-m", "fairseq_smt.cli.cache_labels", data, "--path", path, "--label-cache", labels]
    refused(run(*command, "--cpu", ok=False), f"{path} is damaged, or no checkpoint")
    assert not labels.exists()


@pytest.mark.parametrize("flag", ["--finetune-from-model", "--restore-file"])
def test_absent_checkpoints(data, tmp_path, flag):
    flags = [flag, tmp_path / "absent.pt", "--save-dir", tmp_path / "save"]
    refused(fairseq("train", data, *SMT, *flags, ok=False), f"{flag} {tmp_path / 'absent.pt'} does not exist")


def test_a_run_goes_on_without_the_checkpoint_it_started_from(data, trained, tmp_path):
    folder = copy_of(trained, tmp_path / "save")
    flags = ["--finetune-from-model", tmp_path / "absent.pt", "--save-dir", folder, "--max-update", 61]
    assert "num_updates 61" in fairseq("train", data, *SMT, *flags)


def test_absent_checkpoint_for_scoring(data, tmp_path):
    output = fairseq("eval-lm", data, *BLOCKS, "--path", tmp_path / "absent.pt", "--cpu", ok=False)
    refused(output, f"{tmp_path / 'absent.pt'}: name a checkpoint by --path")


@pytest.mark.parametrize(
    "flags", [["--criterion", "dmt", "--train", "rnn"], ["--train", "rnn"]], ids=["criterion", "trained part"]
)
def test_another_stage_in_the_same_folder(data, trained, tmp_path, flags):
    folder = copy_of(trained, tmp_path / "save")
    before = contents(folder)
    output = fairseq("train", data, *SMT, *flags, "--save-dir", folder, ok=False)
    refused(output, f"{folder / 'checkpoint_last.pt'} was trained otherwise", "--finetune-from-model")
    assert contents(folder) == before


def test_truncated_data(data, tmp_path):
    folder = copy_of(data, tmp_path / "data")
    path = folder / "train.bin"
    path.write_bytes(path.read_bytes()[:-1])
    refused(fairseq("train", folder, *SMT, "--save-dir", tmp_path, ok=False), f"{path} has", "make the data anew")


def test_damaged_data_met_by_a_worker(data, tmp_path):
    folder = copy_of(data, tmp_path / "data")
    (folder / "train.bin").write_bytes(b"\x77" * (folder / "train.bin").stat().st_size)
    refused(fairseq("train", folder, *SMT, "--save-dir", tmp_path, ok=False), "of DATA holds symbol", "make the data")


def test_damaged_manifest_of_a_label_cache(data, trained, tmp_path):
    cache(data, trained, tmp_path / "labels")
    manifest = file_of(tmp_path / "labels", "json")
    flip(manifest, 300)
    before = contents(tmp_path / "labels")
    dmt = ["--criterion", "dmt", "--memory-head", "none", "--finetune-from-model", trained / "checkpoint_last.pt"]
    flags = ["--label-cache", tmp_path / "labels", "--train-subset", "valid", "--save-dir", tmp_path / "save"]
    refused(fairseq("train", data, *SMT, *dmt, *flags, ok=False), str(manifest), "cache the shard again")
    assert contents(tmp_path / "labels") == before


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--task", "language_modeling"], "add --task smt_lm"),
        (["--arch", "transformer_lm_gpt", "--decoder-layers", 1], "--arch must be one of smt_lm"),
        (["--tokens-per-sample", 20000], "of split train: give more data or shorter blocks, or add --required-batch"),
        (["--max-tokens", 1], "blocks of split train: raise --max-tokens to the length of a block at least"),
        (["--criterion", "cross_entropy", "--label-cache", "x"], "cross_entropy has no use for labels"),
        (["--criterion", "chunked_bptt", "--label-cache", "x"], "chunked_bptt has no use for labels"),
    ],
    ids=["task", "arch", "few blocks", "few tokens", "labels for BPTT", "labels for chunked BPTT"],
)
def test_lines_that_cannot_work(data, tmp_path, flags, sentence):
    line = [x for x in SMT if x not in ("--arch", "smt_lm_tiny")] if "--arch" in flags else SMT
    refused(fairseq("train", data, *line, *flags, "--save-dir", tmp_path, ok=False), sentence)


@pytest.mark.parametrize("rollout", ["sequential", "jacobi"])
def test_flags_that_do_nothing_are_told(data, trained, tmp_path, rollout):
    dmt = ["--criterion", "dmt", "--train", "rnn", "--finetune-from-model", trained / "checkpoint_last.pt"]
    flags = ["--rollout", rollout, "--chunk", 3, "--chunk-lengths", "random", "--warm-passes", 2]
    output = fairseq("train", data, *SMT, *dmt, *flags, "--save-dir", tmp_path)
    assert f"--warm-passes 2 does nothing with --rollout {rollout}" in output
    for flag in ("--chunk 3", "--chunk-lengths random"):
        assert (f"{flag} does nothing" in output) == (rollout == "sequential")


def test_hydra_leaves_the_sentence_to_us(data, tmp_path):
    flags = [f"common.user_dir={ROOT / 'fairseq_smt'}", f"task.data={data}", "common.cpu=true", "model.trunk_heads=5"]
    flags += [f"checkpoint.save_dir={tmp_path}", f"hydra.run.dir={tmp_path / 'run'}"]
    recipe = ["--config-dir", ROOT / "fairseq_smt/config", "--config-name", "smt_lm", "model=tiny"]
    refused(run("fairseq-hydra-train", *recipe, *flags, ok=False), "--trunk-heads 5 does not fit")


def test_a_block_of_validation_longer_than_max_tokens(data, trained):
    flags = ["--path", trained / "checkpoint_last.pt", "--max-tokens", 31, "--cpu"]
    refused(fairseq("validate", data, *BLOCKS, *flags, ok=False), "blocks of split valid: raise --max-tokens")
