"""What --tensorboard-figures draws of a validation's first batch, and that training is the same with it."""

from types import SimpleNamespace

import pytest
import torch

from tests.support.commands import TRAIN
from tests.support.one_step import stage
from tests.support.stages import difference, train
from tests.support.training import parameters


class Board:
    """What would be TensorBoard's writer."""

    def __init__(self):
        self.figures, self.texts = {}, {}

    def add_figure(self, tag, figure, step):
        self.figures[tag, step] = figure

    def add_text(self, tag, text, step):
        self.texts[tag, step] = text

    def flush(self):
        pass


def drawn(data, trained, *flags):
    """The board after one validation, with the batch and the model."""
    from fairseq_smt.analysis.board import write

    checkpoint = trained if not flags else None
    model, criterion, sample = stage(data, "--criterion", "smt", *flags, checkpoint=checkpoint)
    board, batch = Board(), criterion.task.batch_of(sample)
    write(board, 7, model.eval(), criterion.task, batch)
    return board, batch, model, criterion


def curve(figure, line: int = 0) -> dict[float, float]:
    xs, ys = figure.axes[0].get_lines()[line].get_data()
    return dict(zip(map(float, xs), map(float, ys), strict=True))


def test_drift_is_that_of_validation_and_the_sample_the_rnns_own(data, trained):
    board, batch, model, criterion = drawn(data, trained)
    assert set(board.figures) == {("drift by horizon", 7), ("spectrum", 7)} and set(board.texts) == {("sample", 7)}
    from fairseq_smt.core.diagnostics import label_variance
    from fairseq_smt.core.interface import Modules
    from fairseq_smt.core.transitions import labels_of

    modules = Modules(model.rnn, model.teacher, model.future)
    terms = criterion.objective(modules, batch=batch, update=0, training=False)
    labels = labels_of(modules, batch)
    variance = float(label_variance(labels, batch.real))
    found = curve(board.figures["drift by horizon", 7])
    assert sorted(found) == list(range(1, 34))
    for h in (1, 4, 16):
        total, count = terms.measures[f"drift_{h}"]
        assert found[h] == pytest.approx(float(total / count) / variance, rel=1e-4)
    spectra = [sum(curve(board.figures["spectrum", 7], i).values()) for i in (0, 1)]
    assert spectra[0] / labels[0, 0].numel() == pytest.approx(variance, rel=1e-4) and spectra[1] > 0
    text = board.texts["sample", 7]
    assert all(line.startswith("    ") for line in text.splitlines())
    plain = "\n".join(line[4:] for line in text.splitlines())
    prompt, rest = plain.split("▶")
    from fairseq_smt.analysis.samples import text_of

    assert prompt == text_of(criterion.task).decode(batch.inputs[0].tolist())[: len(prompt)] and len(rest) > 100


def test_a_teacher_that_needs_a_pass_per_label_makes_few(data, trained):
    from fairseq_smt.analysis.board import LABELS, labels_at

    flags = ["--memory-head", "window", "--teacher-window", 8, "--label-pairs", 4]
    board, batch, model, _ = drawn(data, trained, *flags)
    found = curve(board.figures["drift by horizon", 7])
    positions, labels = labels_at(model.teacher, batch)
    assert positions.numel() <= LABELS and list(found) == [float(t + 1) for t in positions[0]]
    assert found.keys() >= {1.0, 33.0}
    torch.testing.assert_close(labels, model.teacher.labels(batch.inputs, batch.real)[:, positions[0]])


def test_rows_that_end_early_are_left_out(data, trained):
    from dataclasses import replace

    from fairseq_smt.analysis.board import write

    model, criterion, sample = stage(data, "--criterion", "smt", checkpoint=trained)
    batch = criterion.task.batch_of(sample)
    short = replace(batch, real=batch.real & (torch.arange(batch.inputs.shape[1]) < 9))
    board = Board()
    write(board, 1, model.eval(), criterion.task, short)
    assert list(curve(board.figures["drift by horizon", 1])) == list(range(1, 10))


def test_training_is_the_same_to_the_bit(data, tmp_path):
    flags = ["--criterion", "smt", "--max-update", 4, "--validate-interval-updates", 2, "--valid-subset", "test"]
    train(data, tmp_path / "without", *flags)
    train(data, tmp_path / "with", *flags, "--tensorboard-figures", "--tensorboard-logdir", tmp_path / "tb")
    assert difference(parameters(tmp_path / "without"), parameters(tmp_path / "with")) == 0
    assert len(list((tmp_path / "tb" / "figures").glob("events*"))) == 1


@pytest.fixture
def task(data, tmp_path):
    """A task with the flag, whose figures go to a folder."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    import fairseq_smt

    fairseq_smt.register()
    board = ["--tensorboard-figures", "--tensorboard-logdir", tmp_path / "tb"]
    line = [str(x) for x in (data, *TRAIN, "--criterion", "smt", *board)]
    args = options.parse_args_and_arch(options.get_training_parser(), line)
    return tasks.setup_task(convert_namespace_to_omegaconf(args).task)


def test_other_processes_draw_nothing(task, monkeypatch):
    model = SimpleNamespace(rnn=None)
    for rank, draws in ((1, False), (0, True)):
        monkeypatch.setattr("fairseq_smt.tasks.figures.distributed.get_global_rank", lambda rank=rank: rank)
        task.begin_epoch(1, model)
        task.begin_valid_epoch(1, model)
        assert task._waits is draws


def test_a_disk_that_fills_up_ends_the_figures_and_not_the_training(task, data, monkeypatch, caplog, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fairseq_smt.analysis.board.write", full)
    model, criterion, sample = stage(data, "--criterion", "smt")
    task.begin_epoch(1, model)
    for _ in range(2):
        task.begin_valid_epoch(1, model)
        task._sample = sample if task._waits else None
        task.post_validate(model, {"num_updates": 1}, None)
    assert caplog.text.count("Training goes on without figures") == 1 and "tb cannot be written" in caplog.text


def test_scoring_draws_nothing(task, data):
    model, criterion, sample = stage(data, "--criterion", "smt")
    criterion.task = task
    task.valid_step(sample, model.eval(), criterion)
    task.post_validate(model, {"num_updates": 1}, None)
    assert task.board is None


@pytest.mark.parametrize(
    "name, text", [("plain", "plain"), ("模型", r"\u6a21\u578b"), ("größe", "größe"), ("a$b$", r"a\$b\$")]
)
def test_a_name_in_a_picture_has_a_glyph_for_every_character(recwarn, name, text):
    from fairseq_smt.analysis.figures import new_figure, shown

    figure, panels = new_figure(1, 1)
    panels[0, 0].set_title(shown(name))
    figure.canvas.draw()
    assert shown(name) == text and not [w for w in recwarn if "Glyph" in str(w.message)]
