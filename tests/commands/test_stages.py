"""The stages after SMT under the real commands: DMT, chunked BPTT, and BPTT that starts from a DMT checkpoint."""

import math
import shutil
from dataclasses import fields
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fairseq_smt.core.fingerprints import UNKNOWN, unpack
from fairseq_smt.core.interface import on_host
from fairseq_smt.core.objectives import ChunkedBackpropagation, DaggerMemoryTraining, SupervisedMemoryTraining
from tests.support.commands import BLOCKS, ROOT, TRAIN, fairseq
from tests.support.one_step import stage
from tests.support.training import losses, parameters, records, remembered

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
    assert unpack(after["teacher_fingerprint"]) == unpack(before["teacher_fingerprint"]) > UNKNOWN


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
    flags = ["--fp16", "--fp16-init-scale", 4, "--max-update", 3, "--rollout", "sequential"]
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


def test_cross_entropy_is_backpropagation_through_time(data):
    """The plain loop: step by step from the initial memory, a sum over all targets."""
    model, criterion, sample = stage(data, "--criterion", "cross_entropy", "--memory-head", "none")
    tokens, target, pad = sample["net_input"]["src_tokens"], sample["target"], criterion.padding_idx
    memory, expected = None, torch.zeros(())
    for t in range(tokens.shape[1]):
        logits, memory = model.rnn.step(tokens[:, t], memory)
        expected = expected + F.cross_entropy(logits, target[:, t], ignore_index=pad, reduction="sum")
    loss, size, _ = criterion(model, sample)
    assert size == sample["ntokens"] == target.ne(pad).sum()
    torch.testing.assert_close(loss, expected)
    found, wanted = (torch.autograd.grad(x, list(model.rnn.parameters())) for x in (loss, expected))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_what_is_logged_are_means_over_all_batches_in_bits_and_over_the_label_variance(data):
    model, criterion, sample = stage(data, "--criterion", "smt")
    model.eval()
    logs = [criterion(model, x)[2] for x in (sample, criterion.task.truncate(sample, 7))]
    with metrics.aggregate() as found:
        criterion.reduce_metrics(logs)
    found = found.get_smoothed_values()

    def mean(name: str, count: str) -> float:
        return sum(float(log[name]) for log in logs) / sum(float(log[count]) for log in logs)

    assert found["loss"] == pytest.approx(mean("loss", "ntokens") / math.log(2), abs=2e-3)
    bits = mean("rnn_nll_sum", "rnn_nll_count") / math.log(2)
    assert found["rnn_nll"] == pytest.approx(bits, abs=2e-3) and found["rnn_ppl"] == pytest.approx(2**bits, rel=1e-3)
    assert found["rnn_bpb"] == pytest.approx(mean("rnn_nll_sum", "scored_bytes") / math.log(2), abs=2e-3)
    assert found["rnn_accuracy"] == pytest.approx(mean("rnn_accuracy_sum", "rnn_accuracy_count"), abs=1e-4)
    variance = mean("label_variance_sum", "label_variance_count")
    for name, logged in (("dynamics", "one_step_error"), ("drift_4", "drift_4")):
        assert found[logged] == pytest.approx(mean(f"{name}_sum", f"{name}_count") / variance, abs=2e-4)


def test_the_model_is_given_blocks_of_the_curriculums_length_in_training_and_whole_ones_in_validation(data):
    flags = ["--criterion", "smt", "--curriculum-start", 4, "--curriculum-updates", 10]
    model, criterion, sample = stage(data, *flags)
    task, optimizer, seen = criterion.task, SimpleNamespace(backward=lambda loss: loss.backward()), []
    model.register_forward_pre_hook(lambda _, __, given: seen.append(given["src_tokens"].shape), with_kwargs=True)
    counted = []
    for update in (0, 5, 10):
        model.set_num_updates(update)
        counted.append(task.train_step(sample, model, criterion, optimizer, update)[1])
    task.valid_step(sample, model, criterion)
    assert seen == [(4, 4), (4, 18), (4, 33), (4, 33)]
    assert counted == [int(sample["net_input"]["src_lengths"].clamp(max=n).sum()) for n in (4, 18, 33)]


def test_flags_reach_the_objectives(data):
    """Every field of an objective, at values that are not the default."""
    numbers = dict(future_positions=3, readout_positions=5, dynamics_positions=7, label_pairs=2, uniformity_tokens=9)
    weights = {f"{x}_weight": 0.25 for x in ("future", "readout", "trunk", "dynamics", "pursuit", "uniformity")}
    smt = weights | numbers | dict(diagnostics_interval=3, seed=9)
    dmt = dict(drift_weight=2.0, readout_weight=3.0, rollout="warm", chunk=3, chunk_lengths="random")
    dmt |= dict(drift_backprop=5, ce_backprop=2, seed=9)
    for expected, renamed in (
        (SupervisedMemoryTraining(**smt, detach="source", horizon=32), ["--dynamics-detach", "source"]),
        (DaggerMemoryTraining(**dmt, passes=2, horizon=32), ["--warm-passes", 2]),
        (ChunkedBackpropagation(chunk=3, seed=9, passes=2, horizon=32), ["--warm-passes", 2]),
    ):
        given = {f.name: getattr(expected, f.name) for f in fields(expected)}
        flags = [x for name, v in given.items() for x in (f"--{name.replace('_', '-')}", v)]
        hidden = ("--detach", "--horizon", "--passes")
        flags = [x for pair in zip(flags[::2], flags[1::2], strict=True) if pair[0] not in hidden for x in pair]
        kind = {SupervisedMemoryTraining: "smt", DaggerMemoryTraining: "dmt"}.get(type(expected), "chunked_bptt")
        assert stage(data, "--criterion", kind, *flags, *renamed)[1].objective == expected


def test_a_reordered_decoder_goes_on_from_the_memories_of_the_rows_kept(data):
    model, _, sample = stage(data, "--criterion", "smt")
    tokens, order, state = sample["net_input"]["src_tokens"][:3, :5], torch.tensor([2, 0, 0]), {}
    model.decoder(tokens[:, :4], incremental_state=state)
    model.decoder.reorder_incremental_state(state, order)
    found = model.decoder(tokens[order], incremental_state=state)[0]
    torch.testing.assert_close(found[:, -1], model.decoder(tokens[order])[0][:, -1])


@pytest.mark.parametrize("min_len", [1, 2])
def test_a_row_whose_prompt_is_over_is_generated_freely_while_another_is_forced(data, min_len):
    from fairseq_smt.tasks.generation import PromptGenerator

    model, criterion, _ = stage(data, "--criterion", "smt")
    words = criterion.task.source_dictionary
    generator = PromptGenerator([model], words, beam_size=1, min_len=min_len)
    prompts = torch.tensor([[9, 8, 7], [9, words.pad(), words.pad()]])
    free = torch.zeros(2, len(words))
    lprobs, _, _ = generator._prefix_tokens(1, free, torch.zeros(2, 9), torch.zeros(2, 9).long(), prompts, 1)
    assert lprobs[0].isfinite().nonzero().flatten().tolist() == [8]
    never = {words.bos(), words.unk()} | ({words.eos()} if min_len > 1 else set())
    assert set(lprobs[1].isinf().nonzero().flatten().tolist()) == never


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
        (["--criterion", "smt", "--pursuit-weight", -1], False, "--pursuit-weight must not be negative, got -1.0"),
        (["--criterion", "dmt", "--drift-weight", "nan"], False, "--drift-weight must be a finite number, not nan"),
        (["--criterion", "smt", "--dynamics-wait-below", "nan"], False, "--dynamics-wait-below must be a finite"),
        (["--criterion", "smt", "--label-pairs", 10**6], False, "--label-pairs 1000000 is more than a block has"),
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
