"""The class of an image after its last pixel: `--ask last` under every criterion and command."""

import json
import math
import re

import pytest
import torch

from tests.support.commands import ROOT, fairseq, run
from tests.support.label_cache import cache, load_model, make_task, samples
from tests.support.label_cache import refused as raises
from tests.support.refusals import refused
from tests.support.scoring import bits
from tests.support.training import records

ITEMS = ["--task", "smt_lm", "--sample-break-mode", "eos", "--tokens-per-sample", 17]
CLASSES = [*ITEMS, "--ask", "last"]
OPTIONS = dict(tokens_per_sample=17, sample_break_mode="eos", add_bos_token=False, ask="last")
TINY = ["--arch", "smt_lm_tiny", "--future", "far", "--futures", 1, "--cell", "gru"]
ALONE = [*TINY, "--memory-head", "none"]
TRAIN = ["--batch-size", 16, "--batch-size-valid", 64, "--optimizer", "adam", "--lr", 0.01, "--cpu", "--max-update", 8]
LSTM = ["--arch", "lstm_lm", "--decoder-embed-dim", 8, "--decoder-hidden-size", 8, "--decoder-out-embed-dim", 8]
TRANSFORMER = [
    "--arch",
    "transformer_lm",
    "--decoder-embed-dim",
    8,
    "--decoder-layers",
    1,
    "--decoder-ffn-embed-dim",
    8,
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Digits of 4 × 4 pixels and their classes."""
    folder = tmp_path_factory.mktemp("classes") / "data"
    run("python", ROOT / "scripts/prepare_pixels.py", "--destdir", folder, "--classes", "--downsample", 2)
    return folder


def train(images, folder, *flags, **kwargs) -> str:
    """Train; the log, with a validation on the split test, whole."""
    common = ["--log-format", "json", "--save-dir", folder, "--required-batch-size-multiple", 1]
    return fairseq("train", images, *CLASSES, *TRAIN, *common, "--valid-subset", "test", *flags, **kwargs)


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A short SMT run."""
    folder = tmp_path_factory.mktemp("classes") / "smt"
    (folder.parent / "log").write_text(train(images, folder, *TINY, "--criterion", "smt"))
    return folder


def of_the_class(images, folder) -> tuple[float, float]:
    """Bits and accuracy of the answer after the last pixel, by the core's RNN on the items as they lie on disk."""
    from fairseq_smt.analysis.loading import load

    checkpoint = load(str(folder / "checkpoint_last.pt"), "it", str(images), {}, cpu=True)
    checkpoint.task.load_dataset("test")
    items = torch.stack([item.long() for item in checkpoint.task.datasets["test"].dataset.dataset])
    pixels, label = items[:, :-1], items[:, -1]
    eos = torch.full((len(items), 1), checkpoint.task.source_dictionary.eos())
    rnn = checkpoint.model.rnn
    logits = rnn.readout(rnn.unroll(torch.cat((eos, pixels), dim=1))[:, -1])
    nll = torch.nn.functional.cross_entropy(logits, label)
    return float(nll) / math.log(2), float((logits.argmax(-1) == label).float().mean())


CRITERIONS = {
    "smt": [*TINY, "--criterion", "smt"],
    "dmt": [*TINY, "--criterion", "dmt", "--train", "rnn"],
    "dmt-cached": [*ALONE, "--criterion", "dmt"],
    "chunked_bptt": [*ALONE, "--criterion", "chunked_bptt", "--chunk", 4],
    "cross_entropy": [*ALONE, "--criterion", "cross_entropy"],
    "lstm_lm": [*LSTM, "--criterion", "cross_entropy"],
    "transformer_lm": [*TRANSFORMER, "--criterion", "cross_entropy"],
}


@pytest.mark.parametrize("name", CRITERIONS)
def test_every_command_scores_the_class(images, trained, tmp_path, name):
    flags = CRITERIONS[name]
    if name.startswith("dmt"):
        flags = [*flags, "--finetune-from-model", trained / "checkpoint_last.pt"]
    if name == "dmt-cached":
        cache(images, trained, tmp_path / "labels", "--splits", "train,test")
        flags = [*flags, "--label-cache", tmp_path / "labels"]
    last = records(train(images, tmp_path / "run", *flags), "test")[-1]
    if name in ("smt", "dmt"):
        assert {"test_ceiling_accuracy", "test_drift_16"} <= last.keys()
    loss, accuracy = float(last["test_rnn_nll"]), float(last["test_rnn_accuracy"])
    path = ["--path", tmp_path / "run" / "checkpoint_last.pt", "--cpu", "--batch-size", 64]
    log = fairseq("eval-lm", images, *CLASSES, *path, "--gen-subset", "test")
    assert bits(log) == pytest.approx(loss, abs=1e-3) and "Evaluated 180 tokens" in log
    if name in ("smt", "cross_entropy", "lstm_lm"):
        whole = [*path, "--valid-subset", "test", "--required-batch-size-multiple", 1]
        validated = fairseq("validate", images, "--task", "smt_lm", *whole)
        for measure, value in (("nll", loss), ("accuracy", accuracy)):
            assert float(re.findall(rf"rnn_{measure} ([\d.]+)", validated)[-1]) == pytest.approx(value, abs=1e-3)
    if "lm" not in name:
        assert (loss, accuracy) == pytest.approx(of_the_class(images, tmp_path / "run"), abs=1e-3)
        assert 0 < accuracy < 1


def test_the_future_predictor_is_asked_for_the_class_all_along_the_image(images, trained):
    """What its loss depends on: memories from the first pixel to the last, and the class alone."""
    from fairseq_smt.core.interface import Modules
    from fairseq_smt.core.objectives import SupervisedMemoryTraining

    task, model = make_task(images, split="test", **OPTIONS), load_model(trained)
    batch = task.batch_of(samples(task, "test")[0])
    modules = Modules(model.rnn, model.teacher, model.future)
    objective = SupervisedMemoryTraining(future_weight=1, readout_weight=0, dynamics_weight=0)
    labels = model.teacher.labels(batch.inputs).detach().requires_grad_()
    loss = objective.of_labels(modules, batch, labels)
    loss.backward()
    assert (labels.grad.flatten(2).norm(dim=2) > 0).all()
    batch.targets[:, :-1] = 7  # nothing is asked of the pixels
    assert float(objective.of_labels(modules, batch, labels)) == float(loss)


def test_a_block_asks_for_its_last_target(images):
    asked, everything = (make_task(images, split="test", **OPTIONS | {"ask": ask}) for ask in ("last", "all"))
    pad = asked.dictionary.pad()
    for ours, plain in zip(samples(asked, "test"), samples(everything, "test"), strict=True):
        assert torch.equal(ours["net_input"]["src_tokens"], plain["net_input"]["src_tokens"])
        assert (ours["target"][:, :-1] == pad).all() and torch.equal(ours["target"][:, -1], plain["target"][:, -1])
        rows = len(ours["target"])
        assert ours["ntokens"] == rows and plain["ntokens"] == 17 * rows
        assert ours["start_indices"] == [16] * rows
        assert asked.batch_of(ours).asked.sum(1).tolist() == [1] * rows


def test_diagnostics_are_of_the_class_and_images_are_not_completed(images, trained, tmp_path):
    from fairseq_smt.cli import complete_pixels, diagnose

    path = ["--path", str(trained / "checkpoint_last.pt"), "--cpu", "--output"]
    diagnose.main([str(images), *path, str(tmp_path), "--sequences", "8"])
    report = json.loads((tmp_path / "diagnostics.json").read_text())["checkpoints"]["smt"]
    assert report["loss"]["x"] == [16] and report["loss"]["targets"] == [8]
    assert len(report["gradients"]["bptt"]["trained"]["norm"]) == 17
    raises(
        "cannot be cut to 8: give --tokens-per-sample 17",
        lambda: diagnose.main([str(images), *path, str(tmp_path), "--tokens-per-sample", "8"]),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["it", str(images), *path, str(tmp_path / "halves.png")])
        raises("was made with --classes", complete_pixels.main)


@pytest.mark.parametrize(
    "options, sentence",
    [
        (dict(sample_break_mode="none"), "--sample-break-mode none does not keep whole: add --sample-break-mode eos"),
        (dict(sample_break_mode="complete"), "--sample-break-mode complete does not keep whole"),
        (dict(add_bos_token=True), "remove --add-bos-token"),
        (dict(carry_memory=True), "remove --carry-memory"),
        (dict(curriculum_start=8), "remove --curriculum-start"),
        (dict(shorten_method="truncate"), "remove --shorten-method"),
    ],
    ids=lambda x: "" if isinstance(x, str) else next(iter(x)),
)
def test_what_does_not_go_with_the_last_target(images, options, sentence):
    raises(
        sentence, lambda: make_task(images, split="test", update_freq=[1], pad_to_fixed_bsz=False, **OPTIONS | options)
    )


def test_other_data_and_commands_say_so(images, trained, tmp_path):
    run("python", ROOT / "scripts/prepare_pixels.py", "--destdir", tmp_path / "plain", "--downsample", 2)
    raises("has no classes: make it anew by", lambda: make_task(tmp_path / "plain", split="test", **OPTIONS))
    path = ["--path", trained / "checkpoint_last.pt", "--cpu"]
    refused(fairseq("generate", images, *CLASSES, *path, ok=False), "--ask last leaves nothing to generate")
    window = ["--context-window", 8, "--num-workers", 0]
    refused(fairseq("eval-lm", images, *CLASSES, *path, *window, ok=False), "--context-window has no meaning")
    log = fairseq("eval-lm", images, *ITEMS, *path, "--gen-subset", "test")
    assert "was trained with --ask last, this command has all" in log and "Evaluated 3,060 tokens" in log


def test_the_next_symbol_after_all_pixels_is_generated(images, trained):
    """Without `--ask last`: fairseq-generate names the class that the RNN thinks likeliest."""
    lengths = ["--prefix-size", 16, "--max-len-b", 17, "--beam", 1, "--required-batch-size-multiple", 1]
    log = fairseq("generate", images, *ITEMS, *lengths, "--path", trained / "checkpoint_last.pt", "--cpu")
    found = re.findall(r"^H-\d+\t\S+\t(.*)$", log, re.M)
    assert len(found) == 180 and all(len(line.split()) == 17 for line in found)
