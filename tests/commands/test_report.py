"""fairseq-smt-report on short runs of every stage: what it shows, what it says is missing, and how it looks."""

import base64
import re
import shutil
import subprocess
from urllib.parse import unquote

import matplotlib.image
import pytest
import torch

from tests.support import probes
from tests.support.commands import BLOCKS, TRAIN, fairseq, run
from tests.support.page import self_contained
from tests.support.stages import flags_of
from tests.support.training import records

SMALL = ["--cpu", "--sequences", 6, "--batch-size", 6, "--length", 40]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def report():
    """The command's own entry point; returns what a browser reads."""
    from fairseq_smt.cli.report import main

    def call(output, *argv):
        main([str(x) for x in (*argv, "--output", output)])
        return self_contained(output.read_text())

    return call


@pytest.fixture(scope="module")
def stages(data, trained, tmp_path_factory):
    """Save folders of DMT and BPTT, each with a log of its own format; BPTT's TensorBoard has figures."""
    folder = tmp_path_factory.mktemp("stages")
    board = ["--tensorboard-logdir", folder / "tb", "--tensorboard-figures"]
    own = {"dmt": ["--log-format", "simple"], "bptt": ["--log-format", "json", *board]}
    names = {"dmt": "dmt", "bptt": "cross_entropy"}
    for name, flags in own.items():
        flags = [*flags_of(names[name], trained, folder), *flags]
        few = ["--max-update", 12, "--validate-interval-updates", 6, "--log-interval", 2, "--valid-subset", "test"]
        log = fairseq("train", data, *TRAIN, *flags, *few, "--save-dir", folder / name)
        (folder / f"{name}.log").write_text(log)
    return folder


@pytest.fixture(scope="module")
def three(trained, stages, report, tmp_path_factory):
    """The report of SMT, DMT and BPTT."""
    output = tmp_path_factory.mktemp("report") / "new" / "report.html"
    names = ["--names", "SMT", "_$DMT$", "<b>BPTT"]
    return output, report(output, trained, stages / "dmt", stages / "bptt", *names, *SMALL)


def written(board) -> dict[str, dict[str, list[int]]]:
    """Tags and updates of the figures in a --tensorboard-logdir, by kind."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(board / "figures"), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    read = {"images": events.Images, "tensors": events.Tensors}
    found = {kind: {tag: [event.step for event in read[kind](tag)] for tag in events.Tags()[kind]} for kind in read}
    return {kind: tags for kind, tags in found.items() if tags}


def titles(page) -> list[str]:
    return [image["alt"] for image in page.of("img")]


def test_stages_stand_side_by_side(three, data, trained):
    output, page = three
    assert output.stat().st_size < 1_000_000
    assert "Report on SMT, _$DMT$ and <b>BPTT" in page.text
    for words in ("RNN alone, bits per target", "ceiling, bits per target", "started from", "milliseconds per update"):
        assert words in page.text
    curves = {"loss", "rnn_nll", "ceiling_nll", "future_nll", "rollout_nll", "drift_4", "label_variance", "gnorm"}
    shown = titles(page)
    assert curves <= set(shown) and not {"wps", "ppl", "best_rnn_nll"} & set(shown)
    assert {"The RNN and its ceiling", "Drift by horizon", "Gradients along the block", "Loss by position"} <= set(
        shown
    )
    assert [title for title in shown if title.startswith("Memory space")] == [
        f"Memory space: {name}" for name in ("SMT", "_$DMT$", "<b>BPTT")
    ]
    assert "--finetune-from-model" in page.text and "--memory-head" in page.text
    assert page.text.count("TensorBoard's files of _$DMT$") == 1 and "TensorBoard's files of SMT" not in page.text
    drawn = [unquote(image["src"]) for image in page.of("img") if image["alt"] == "Gradients along the block"]
    assert "_$DMT$, loss of SMT" in drawn[0] and "&lt;b&gt;BPTT, loss of BPTT" in drawn[0]


def test_samples_are_the_rnns_own(three, trained):
    from fairseq_smt.analysis.loading import load
    from fairseq_smt.analysis.samples import continue_texts, text_of

    _, page = three
    state = torch.load(trained / "checkpoint_best.pt", weights_only=False)
    checkpoint = load(str(trained / "checkpoint_best.pt"), "SMT", state["cfg"]["task"]["data"], {}, cpu=True)
    (batch,) = checkpoint.batches("test", 32, 2, 2)
    text = text_of(checkpoint.task)
    found = continue_texts(checkpoint.model.rnn, text, batch.inputs, 40, temperature=0.8, top_p=0.95)
    for sample in found:
        assert len(sample.text) == 40 and sample.prompt + sample.text in page.text
    document = text.decode(batch.targets[0].tolist())
    assert document.startswith(found[0].prompt[:20]) and page.text.count(found[0].prompt) == 3


def test_a_run_without_anything_beside_its_checkpoint(trained, report, tmp_path):
    state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
    state["cfg"]["task"]["data"], state["cfg"]["common"]["tensorboard_logdir"] = "/gone/data", None
    torch.save(state, tmp_path / "checkpoint_last.pt")
    page = report(tmp_path / "report.html", tmp_path, *SMALL)
    assert not page.of("img") and len((tmp_path / "report.html").read_text()) < 20_000
    missing = page.text[page.text.index("What is missing", 300) :]
    for words in (
        "by --log-file",
        "by --tensorboard-logdir",
        "It has no curves",
        "DATA, /gone/data, is not here",
        "--data",
    ):
        assert words in missing
    assert "RNN alone, bits per target" in page.text and "--tokens-per-sample" in page.text
    flags = ["--data", trained.parent / "absent"]
    assert "is not here" in report(tmp_path / "report.html", tmp_path, *SMALL, *flags).text


def test_data_prompt_and_split_are_the_users(data, trained, report, tmp_path):
    state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
    state["cfg"]["task"]["data"] = "/gone/data"
    torch.save(state, tmp_path / "checkpoint_last.pt")
    few = ["--data", data, "--sequences", 0, "--prompt", "The <b>", "--samples", 1, "--log-file", trained / "log"]
    page = report(tmp_path / "report.html", tmp_path, *SMALL, *few)
    assert "The <b>" in page.text and "Prompt 1" in page.text and "Prompt 2" not in page.text
    assert "Drift by horizon" not in titles(page) and "rnn_nll" in titles(page)
    page = report(tmp_path / "report.html", tmp_path, *SMALL, "--data", data, "--gen-subset", "absent")
    assert "no split 'absent'" in page.text and "name another one by" in page.text


def test_a_probe_needs_no_data_and_has_no_samples(report, tmp_path):
    board = ["--tensorboard-logdir", tmp_path / "tb", "--tensorboard-figures"]
    few = ["--max-update", 2, "--probe-epoch-size", 16, "--probe-valid-size", 16]
    (tmp_path / "run.log").write_text(probes.train(tmp_path / "run", *probes.SMT, *few, *board))
    page = report(tmp_path / "report.html", tmp_path / "run", *SMALL)
    assert {"Drift by horizon", "Loss by position", "Memory space: run"} <= set(titles(page))
    assert "Samples" not in page.text and "ceiling, share right" in page.text
    assert written(tmp_path / "tb") == {"images": {"drift by horizon": [2], "spectrum": [2]}}


def test_another_model_has_curves_and_no_memories(data, report, tmp_path):
    line = [*BLOCKS, "--batch-size", 8, "--optimizer", "adam", "--cpu", "--criterion", "cross_entropy"]
    small = ["--decoder-layers", 1, "--decoder-embed-dim", 16, "--decoder-attention-heads", 2]
    board = ["--tensorboard-logdir", tmp_path / "tb", "--tensorboard-figures"]
    few = ["--max-update", 2, "--valid-subset", "test", "--save-dir", tmp_path / "lm"]
    log = fairseq("train", data, *line, "--arch", "transformer_lm", *small, *board, *few)
    assert "draws nothing of a TransformerLanguageModel, which has no memories" in log
    page = report(tmp_path / "report.html", tmp_path / "lm", *SMALL)
    assert "its model is not smt_lm" in page.text and "RNN alone" in page.text and "rnn_nll" in titles(page)


def test_images_are_completed(report, tmp_path):
    data = tmp_path / "data"
    run("python", "-m", "fairseq_smt.cli.prepare_pixels", "--destdir", data, "--levels", 3)
    line = ["--task", "smt_lm", "--sample-break-mode", "eos", "--tokens-per-sample", 64, "--arch", "smt_lm_tiny"]
    few = ["--batch-size", 16, "--optimizer", "adam", "--cpu", "--max-update", 1, "--valid-subset", "test"]
    board = ["--tensorboard-logdir", tmp_path / "tb", "--tensorboard-figures"]
    fairseq("train", data, *line, *few, *board, "--criterion", "smt", "--save-dir", tmp_path / "run")
    figures = {"drift by horizon": [1], "spectrum": [1], "completed images": [1]}
    assert written(tmp_path / "tb") == {"images": figures}
    page = report(tmp_path / "report.html", tmp_path / "run", *SMALL)
    (image,) = (image for image in page.of("img") if image["alt"] == "Completed images")
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", unquote(image["src"]))
    assert len(pictures) == 3 * 6  # shown, truth, run
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)


def test_figures_are_drawn_at_each_validation(stages):
    figures = {"images": {"spectrum": [6, 12]}, "tensors": {"sample/text_summary": [6, 12]}}
    assert written(stages / "tb") == figures
    assert "draws nothing" not in (stages / "bptt.log").read_text()


def test_a_checkpoint_tells_of_its_last_validation_alone(stages):
    from fairseq_smt.analysis.loading import last_validation

    first, last = records((stages / "bptt.log").read_text(), "test")
    found = last_validation(torch.load(stages / "bptt" / "checkpoint_last.pt", weights_only=False))
    for name in ("loss", "rnn_nll", "rnn_bpb"):
        before, after = float(first[f"test_{name}"]), float(last[f"test_{name}"])
        assert found[name] == pytest.approx(after, abs=1e-3) and abs(before - after) > 0.01


def test_refusals(trained, report, tmp_path):
    from fairseq_smt.errors import ConfigurationError

    (tmp_path / "checkpoint_last.pt").write_bytes((trained / "checkpoint_last.pt").read_bytes()[:1000])
    (tmp_path / "file").touch()
    for flags, sentence in [
        ([tmp_path / "absent"], "absent does not exist: name the --save-dir of a run, or a checkpoint"),
        ([tmp_path], "checkpoint_last.pt is damaged, or no checkpoint of fairseq"),
        ([trained, "--names", "a", "b"], "--names gives 2 names for 1 checkpoints"),
        ([trained, "--log-file", "a", "b"], "--log-file gives 2 for 1 runs"),
        ([trained, "--tensorboard-logdir", tmp_path / "absent"], "absent is no folder"),
        ([trained, "--sequences", -1], "--sequences must not be negative"),
        ([trained, "--samples", 0], "--samples must be positive"),
    ]:
        with pytest.raises(ConfigurationError, match=sentence):
            report(tmp_path / "report.html", *flags)
    shutil.copy(trained / "checkpoint_last.pt", tmp_path)
    with pytest.raises(ConfigurationError, match="of --output is a file"):
        report(tmp_path / "file" / "report.html", tmp_path, "--cpu", "--sequences", 0, "--length", 1)
    assert not (tmp_path / "report.html").exists()


MEASURE = """<!DOCTYPE html><iframe src="{page}" style="width:{width}px;height:900px"></iframe><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument, images = [...page.images];
  document.title = [page.documentElement.scrollWidth, images.length, images.filter(i => i.naturalWidth > 50).length];
}}
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_on_a_phone_and_on_a_desk(three, tmp_path, width):
    """No sideways scrolling, every image is drawn, and a screenshot shows the colours of the runs."""
    output, page = three
    browse = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path}",
    ]
    (tmp_path / "measure.html").write_text(MEASURE.format(page=output.as_uri(), width=width))
    measure = ["--allow-file-access-from-files", "--dump-dom", (tmp_path / "measure.html").as_uri()]
    dom = subprocess.run([*browse, *measure], capture_output=True, text=True, timeout=120).stdout
    total = len(page.of("img"))
    assert re.search(r"<title>(.*?)</title>", dom)[1] == f"{width},{total},{total}"
    picture = tmp_path / "picture.png"
    shot = [f"--window-size={width},1600", f"--screenshot={picture}", output.as_uri()]
    subprocess.run([*browse, *shot], capture_output=True, timeout=120, check=True)
    pixels = (matplotlib.image.imread(picture)[..., :3] * 255).round().astype(int)
    assert pixels.shape[0] == 1600
    from fairseq_smt.reporting.pictures import COLOURS

    for colour in COLOURS[:3]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (abs(pixels - rgb).max(-1) < 3).sum() > 100, colour
