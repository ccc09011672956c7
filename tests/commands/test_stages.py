"""The stages after SMT under the real commands: DMT, chunked BPTT, and BPTT that starts from a DMT checkpoint."""

import shutil

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fairseq_smt.core.batch import on_host
from tests.commands.test_training import losses, parameters, records, remembered
from tests.conftest import BLOCKS, ROOT, TRAIN, fairseq

MEASURED = ["rollout_drift", "rollout_nll", "rollout_accuracy", "chunk_length", "label_variance"]
VALIDATED = [*MEASURED, "rnn_nll", "rnn_bpb", "rnn_accuracy", "ceiling_nll", "ceiling_bpb"]
VALIDATED += ["drift_1", "drift_4", "drift_16"]
BPTT = ["--criterion", "chunked_bptt", "--chunk", 8]
ADAPTIVE = ["--chunk", 4, "--chunk-lengths", "adaptive"]


def dmt(trained) -> list:
    return ["--criterion", "dmt", "--train", "rnn", "--finetune-from-model", trained / "checkpoint_last.pt"]


def changed(before: dict, after: dict) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def tuned(data, trained, tmp_path_factory):
    """Save folder of 12 updates of DMT with adaptive chunks."""
    folder = tmp_path_factory.mktemp("tuned")
    flags = ["--save-dir", folder, "--tensorboard-logdir", folder / "tb", "--log-format", "json", "--log-interval", 1]
    best = ["--best-checkpoint-metric", "rnn_nll", "--max-update", 12]
    log = fairseq("train", data, *TRAIN, *dmt(trained), *ADAPTIVE, *best, *flags)
    (folder / "log").write_text(log)
    return folder


def test_dmt_changes_the_rnn_and_neither_teacher_nor_fingerprint(trained, tuned):
    before, after = parameters(trained), parameters(tuned)
    names = changed(before, after)
    assert names and all(name.startswith("decoder.rnn.") for name in names)
    assert int(after["teacher_fingerprint"]) == int(before["teacher_fingerprint"]) > 0


def test_every_measure_of_dmt_is_logged(tuned):
    log = (tuned / "log").read_text()
    assert set(MEASURED) <= set(records(log, "train_inner")[0])
    assert {f"valid_{name}" for name in VALIDATED} <= set(records(log, "valid")[-1])
    for folder, names in (("train_inner", MEASURED), ("valid", VALIDATED)):
        events = EventAccumulator(str(tuned / "tb" / folder))
        events.Reload()
        assert set(names) <= set(events.Tags()["scalars"])


def test_adaptive_chunks_continue_exactly_in_a_resumed_run(data, trained, tuned, tmp_path):
    flags = [*dmt(trained), *ADAPTIVE]
    whole = [r["loss"] for r in records((tuned / "log").read_text(), "train_inner")]
    first = losses(data, tmp_path, *flags, "--max-update", 5)
    second = losses(data, tmp_path, *flags, "--max-update", 12)
    assert first + second == whole and len(whole) == 12
    assert not changed(parameters(tuned), parameters(tmp_path))
    assert remembered(tuned) == remembered(tmp_path) and remembered(tuned)["chunk"]["length"] != 4


def test_half_precision(data, trained, tmp_path):
    flags = ["--fp16", "--fp16-no-flatten-grads", "--fp16-init-scale", 4, "--max-update", 3, "--rollout", "sequential"]
    assert len(losses(data, tmp_path, *dmt(trained), *flags)) == 3


def test_chunked_bptt_alone_and_with_a_frozen_teacher(data, trained, tmp_path):
    flags = [*TRAIN, *BPTT, "--max-update", 12, "--log-format", "json", "--log-interval", 1]
    log = fairseq("train", data, *flags, "--memory-head", "none", "--save-dir", tmp_path / "alone")
    inner, valid = records(log, "train_inner"), records(log, "valid")[-1]
    assert float(inner[-1]["rollout_nll"]) < float(inner[0]["rollout_nll"])
    assert {"valid_rnn_nll", "valid_rnn_bpb", "valid_rollout_nll"} <= set(valid) and "valid_ceiling_nll" not in valid
    start = ["--train", "rnn", "--finetune-from-model", trained / "checkpoint_last.pt"]
    fairseq("train", data, *flags, *start, "--save-dir", tmp_path / "beside", "--disable-validation")
    names = changed(parameters(trained), parameters(tmp_path / "beside"))
    assert names and all(name.startswith("decoder.rnn.") for name in names)


def test_bptt_goes_on_from_a_dmt_checkpoint_and_eval_lm_scores_it(data, tuned, tmp_path):
    start = ["--memory-head", "none", "--finetune-from-model", tuned / "checkpoint_best.pt"]
    flags = ["--criterion", "cross_entropy", "--max-update", 3, "--disable-validation", "--save-dir", tmp_path]
    fairseq("train", data, *TRAIN, *start, *flags)
    path = ["--path", tmp_path / "checkpoint_last.pt", "--gen-subset", "test", "--cpu"]
    assert "Loss (base 2)" in fairseq("eval-lm", data, *BLOCKS, *path)


# In this process: what one training step and one validation step do, with flags as on the command line.


def stage(data, *flags, checkpoint=None):
    """(model, criterion, sample) for the flags of a fairseq-train line; the model holds the checkpoint of a folder."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    import fairseq_smt

    fairseq_smt.register()
    line = [str(x) for x in (data, *TRAIN, *flags)]
    args = options.parse_args_and_arch(options.get_training_parser(), line)
    config = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(config.task)
    model = task.build_model(config.model)
    criterion = task.build_criterion(config.criterion)
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint / "checkpoint_last.pt", weights_only=False)["model"])
    task.load_dataset("valid")
    sample = next(task.get_batch_iterator(task.dataset("valid"), max_sentences=4).next_epoch_itr(shuffle=False))
    return model, criterion, sample


@pytest.fixture(autouse=True)
def the_programs_name(monkeypatch):
    monkeypatch.setattr("sys.argv", ["fairseq-train"])
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("rollout", ["chunked", "sequential", "warm", "jacobi"])
@pytest.mark.parametrize("lengths", ["fixed", "random", "adaptive"])
def test_every_rollout_with_every_chunk_length(data, trained, rollout, lengths):
    flags = ["--criterion", "dmt", "--train", "rnn", "--rollout", rollout, "--chunk", 4, "--chunk-lengths", lengths]
    model, criterion, sample = stage(data, *flags, checkpoint=trained)
    loss, size, log = criterion(model, sample)
    loss.backward()
    criterion.observe(on_host([log]))
    assert torch.isfinite(loss) and size == log["ntokens"] > 0
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    assert ("chunk" in criterion.task.schedules) == (lengths == "adaptive")
    model.eval()
    assert torch.isfinite(criterion(model, sample)[0])


def test_the_readout_alone_can_be_trained(data, trained):
    model, criterion, sample = stage(data, "--criterion", "dmt", "--train", "readout", checkpoint=trained)
    criterion(model, sample)[0].backward()
    found = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert found == {f"decoder.rnn.readout.{name}" for name, _ in model.rnn.readout.named_parameters()}


@pytest.mark.parametrize(
    "flags, from_checkpoint, sentence",
    [
        (["--criterion", "dmt"], True, "on a frozen teacher: add --train rnn"),
        (["--criterion", "dmt", "--train", "rnn"], False, "needs a trained teacher: start from a checkpoint"),
        (["--criterion", "dmt", "--memory-head", "none"], True, "needs a teacher's labels: remove --memory-head none"),
        (["--criterion", "dmt", "--train", "rnn", "--cell-hidden", 8], True, "is of a model of other sizes"),
        (["--criterion", "dmt", "--chunk", 0], False, "--chunk must be positive, not 0"),
        (["--criterion", "dmt", "--drift-backprop", 0], False, "--drift-backprop must be positive, not 0"),
        (["--criterion", "dmt", "--ce-backprop", -1], False, "--ce-backprop must not be negative, got -1"),
        (["--criterion", "dmt", "--warm-passes", -1], False, "--warm-passes must not be negative, got -1"),
        (BPTT, True, "trains the RNN alone: add --memory-head none, or --train rnn"),
        ([*BPTT, "--chunk", 0], False, "--chunk must be positive, not 0"),
        ([*BPTT, "--warm-passes", -1], False, "--warm-passes must not be negative, got -1"),
        (["--criterion", "smt", "--memory-head", "none"], False, "--criterion smt trains a teacher"),
    ],
    ids=str,
)
def test_stages_that_do_not_fit(data, trained, flags, from_checkpoint, sentence):
    from fairseq_smt.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match=sentence):
        model, criterion, sample = stage(data, *flags, checkpoint=trained if from_checkpoint else None)
        criterion(model, sample)


def test_dmt_on_data_of_another_vocabulary(data, trained, tmp_path):
    from fairseq_smt.errors import ConfigurationError

    other = tmp_path / "data"
    shutil.copytree(data, other)
    dictionary = (other / "dict.txt").read_text().splitlines()
    (other / "dict.txt").write_text("\n".join([*dictionary[1:], dictionary[0]]) + "\n")
    with pytest.raises(ConfigurationError, match="trained with another dictionary"):
        stage(other, "--criterion", "dmt", "--train", "rnn", checkpoint=trained)


def test_the_command_ends_with_the_sentence(data, trained, tmp_path):
    flags = ["--criterion", "dmt", "--finetune-from-model", trained / "checkpoint_last.pt", "--save-dir", tmp_path]
    output = fairseq("train", data, *TRAIN, *flags, "--max-update", 1, ok=False)
    assert "--criterion dmt trains the RNN on a frozen teacher: add --train rnn." in output
    assert "Traceback" not in output
