"""What the plugin adds to fairseq."""

import logging
import queue
import shutil
import time
import warnings
from importlib.metadata import version
from types import SimpleNamespace

import fairseq  # noqa: F401
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import iterators
from fairseq.dataclass.configs import EMAConfig
from fairseq.file_io import PathManager
from fairseq.logging import progress_bar
from fairseq.models.ema import build_ema
from fairseq.trainer import Trainer

import fairseq_smt
from fairseq_smt.core.fingerprints import mark, unpack
from fairseq_smt.core.teacher import fingerprint
from fairseq_smt.errors import ConfigurationError
from tests.support.models import build as smt_model

fairseq_smt.register()
from fairseq_smt.compat import finite, saving, versions  # noqa: E402
from fairseq_smt.compat.threads import PausedConsumer  # noqa: E402
from fairseq_smt.compat.versions import check  # noqa: E402
from fairseq_smt.console import errors, quiet  # noqa: E402


def test_a_copy_that_fails_leaves_the_file_before_it_whole(tmp_path, monkeypatch):
    old, new = tmp_path / "checkpoint_last.pt", tmp_path / "checkpoint_best.pt"
    old.write_text("old")
    new.write_text("new")

    def killed(source, destination):
        with open(destination, "w") as file:
            file.write("n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            PathManager.copy(str(new), str(old), overwrite=True)
    assert old.read_text() == "old" and not list(tmp_path.glob("*.tmp"))
    assert PathManager.copy(str(new), str(old), overwrite=True)
    assert old.read_text() == "new" and sorted(p.name for p in tmp_path.glob("*.pt")) == [new.name, old.name]


@pytest.mark.parametrize("copied", [False, True], ids=["saved", "copied"])
def test_a_checkpoint_on_a_full_disk_leaves_those_before_it_whole(tmp_path, copied):
    """/dev/full answers every write as a full disk does."""
    path = tmp_path / "checkpoint_last.pt"
    checkpoint_utils.torch_persistent_save({"a": 1}, str(path))
    before = path.read_bytes()
    (tmp_path / "checkpoint_last.pt.tmp").symlink_to("/dev/full")
    with pytest.raises(ConfigurationError, match=rf"{path} cannot be written \(No space left on device\): free some"):
        if copied:
            shutil.copy(path, tmp_path / "best.pt")
            PathManager.copy(str(tmp_path / "best.pt"), str(path), overwrite=True)
        else:
            checkpoint_utils.torch_persistent_save({"a": torch.zeros(100_000)}, str(path))
    assert path.read_bytes() == before and not list(tmp_path.glob("*.tmp"))


def test_what_is_no_fault_of_the_disk_is_told_as_it_is(tmp_path):
    class Broken:
        def __reduce__(self):
            raise KeyError

    with pytest.raises(KeyError):
        checkpoint_utils.torch_persistent_save({"a": Broken()}, str(tmp_path / "a.pt"))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_ends_tensorboard_and_not_the_training(tmp_path, monkeypatch, caplog, capfd):
    logged = []
    bar = progress_bar.TensorboardProgressBarWrapper(SimpleNamespace(log=lambda *a, **k: logged.append(a)), tmp_path)
    monkeypatch.setattr(progress_bar, "_tensorboard_writers", {})
    monkeypatch.setattr(saving, "_logs", True)
    bar.log({"loss": 1.0}, tag="train", step=1)
    writer = progress_bar._tensorboard_writers["train"].file_writer.event_writer
    writer._general_file_writer.filename = "/dev/full"
    monkeypatch.setattr("threading.excepthook", errors.hook_of_threads)
    for step in (2, 3):
        bar.log({"loss": 1.0}, tag="train", step=step)
    assert len(logged) == 3 and not progress_bar._tensorboard_writers
    (warning,) = caplog.messages
    assert f"--tensorboard-logdir {tmp_path} cannot be written (No space left on device)" in warning
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "name, installed, sentence",
    [
        ("torch", "2.3.1+cpu", "torch 2.3.1.cpu is too old, 2.6 is needed"),
        ("numpy", "2.1.0", "fairseq does not work with numpy 2.1.0: run `pip install 'numpy<2'`"),
    ],
)
def test_a_version_that_cannot_work_is_named(monkeypatch, name, installed, sentence):
    check()
    monkeypatch.setattr(versions, "version", lambda package: installed if package == name else version(package))
    with pytest.raises(ConfigurationError, match=sentence):
        check()


def test_an_average_copies_integers_and_names_its_own_teacher():
    """The average's checkpoint holds the average's weights under the average's fingerprint."""
    model = smt_model()
    average = build_ema(model, EMAConfig(ema_decay=0.5), device=None)
    model(None, objective=lambda modules: None)
    start = {name: value.clone() for name, value in model.tensors().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    model.set_num_updates(1)
    average.step(model, 1)
    found = average.get_model().state_dict()
    assert found["vocabulary"].tolist() == model.vocabulary.tolist() and found["vocabulary"].dtype == torch.int64
    own = fingerprint(average.get_model().teacher)
    assert unpack(found["teacher_fingerprint"]) == own != fingerprint(model.teacher)
    assert unpack(model.state_dict()["teacher_fingerprint"]) == fingerprint(model.teacher)
    for name, value in start.items():
        if value.is_floating_point():
            torch.testing.assert_close(found[name], value + 0.5)


def test_an_average_hashes_no_teacher_in_a_step(monkeypatch):
    model = smt_model()
    average = build_ema(model, EMAConfig(), device=None)
    mark(model.teacher_fingerprint)
    monkeypatch.setattr("fairseq_smt.models.smt_lm.fingerprint", lambda teacher: pytest.fail("hashed"))
    average.step(model, 1)


@pytest.mark.parametrize(
    "error, gpu, sentence",
    [
        (FloatingPointError, True, "at the smallest loss scale"),
        (OverflowError, True, ""),
        (OverflowError, False, "give --bf16"),
    ],
)
def test_scaled_gradients_end_a_run_at_the_smallest_scale_only(monkeypatch, error, gpu, sentence):
    """Before that, fairseq skips the update after an `OverflowError`, where there is a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    def overflow(trainer, clip_norm):
        raise error("scale")

    monkeypatch.setattr(finite, "_clip_grad_norm", overflow)
    trainer = SimpleNamespace(cfg=SimpleNamespace(common=SimpleNamespace(min_loss_scale=1e-4)))
    with pytest.raises(ConfigurationError if sentence else error, match=sentence):
        Trainer.clip_grad_norm(trainer, 1.0)


def test_a_paused_thread_fetches_nothing_more():
    fetched, buffer = [], queue.Queue(1)
    consumer = PausedConsumer(buffer, (fetched.append(i) or i for i in range(100)), None, None)
    consumer.daemon = True
    consumer.start()
    assert [buffer.get() for _ in range(3)] == [0, 1, 2]
    consumer.pause()
    before = len(fetched)
    while not buffer.empty():
        buffer.get()
        time.sleep(0.05)
    assert len(fetched) == before < 100 and consumer.is_alive()
    consumer.fetching.release()
    rest = iter(buffer.get, iterators._sentinel)
    assert list(rest)[-1] == 99


def test_fairseq_loads_ahead_by_threads_that_can_be_paused():
    found = iterators.BufferedIterator(2, [1, 2, 3])
    assert list(found) == [1, 2, 3] and isinstance(found._consumer, PausedConsumer)


def test_parameters_that_are_absent_share_nothing():
    model = torch.nn.ModuleList([torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)])
    assert fairseq.trainer._catalog_shared_params(model) == []
    model[1].weight = model[0].weight
    assert fairseq.trainer._catalog_shared_params(model) == [["0.weight", "1.weight"]]


PIN = "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used."


@pytest.mark.parametrize(
    "message, module, shown",
    [
        (PIN, "torch.utils.data.dataloader", False),
        (PIN, "fairseq_smt.data", True),
        ("The number of workers is too large", "torch.utils.data.dataloader", True),
        ("`torch.cuda.amp.autocast(args...)` is deprecated. Please use", "fairseq.tasks.fairseq_task", False),
        ("`torch.cuda.amp.autocast(args...)` is deprecated. Please use", "somebody.else", True),
        ("\nThe version_base parameter is not specified.", "hydra.experimental.initialize", False),
        ("anything else", "hydra.experimental.initialize", True),
    ],
)
def test_warnings_are_silenced_by_words_and_place(message, module, shown):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for text, place in quiet.WARNINGS:
            warnings.filterwarnings("ignore", text, module=place)
        warnings.warn_explicit(message, UserWarning, "file.py", 1, module=module)
    assert bool(caught) == shown


@pytest.mark.parametrize(
    "name, level, message, shown",
    [
        ("fairseq.tasks.fairseq_task", logging.INFO, "rebuild_batches = False", False),
        ("fairseq.tasks.fairseq_task", logging.INFO, "anything else", True),
        ("hydra.core.utils", logging.DEBUG, "Setting JobRuntime:name=utils", False),
        ("fairseq.tasks.fairseq_task", logging.WARNING, "rebuild_batches = False", True),
        ("fairseq_cli.train", logging.INFO, "num. expert model params: 0 (num. trained: 0)", False),
        ("fairseq_cli.train", logging.INFO, "num. expert model params: 10 (num. trained: 0)", True),
        ("fairseq_cli.train", logging.INFO, "TransformerLanguageModel(\n", True),
    ],
)
def test_log_records_are_silenced_by_words_and_level(name, level, message, shown):
    record = logging.getLogger(name).makeRecord(name, level, "file.py", 1, message, (), None)
    assert bool(logging.getLogger(name).filter(record)) == shown
