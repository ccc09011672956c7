"""What a run left: its checkpoint, its log and TensorBoard's files, found by themselves or named."""

import shutil

import pytest
import torch

from fairseq_smt.analysis.loading import last_validation
from fairseq_smt.errors import ConfigurationError
from fairseq_smt.reporting.events import read_events
from fairseq_smt.reporting.logs import read_log
from fairseq_smt.reporting.runs import find_checkpoint, read_run
from fairseq_smt.reporting.settings import settings_of
from fairseq_smt.reporting.tables import at_a_glance, best_of
from tests.support.training import records


@pytest.fixture(scope="module", autouse=True)
def registered():
    import fairseq  # noqa: F401

    import fairseq_smt

    fairseq_smt.register()


@pytest.fixture(scope="module")
def stage(trained, tmp_path_factory):
    """A checkpoint of another stage, as it were: it started from `trained` and took 5 seconds."""
    folder = tmp_path_factory.mktemp("stage")
    state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
    state["cfg"]["checkpoint"]["finetune_from_model"] = str(trained / "checkpoint_best.pt")
    state["cfg"]["common"]["tensorboard_logdir"] = None
    state["cfg"]["criterion"] = {"_name": "dmt", "drift_weight": 2.0, "chunk": 16}
    best = torch.load(trained / "checkpoint_best.pt", weights_only=False)
    state["extra_state"]["previous_training_time"] = best["extra_state"]["previous_training_time"] + 5
    torch.save(state, folder / "checkpoint_last.pt")
    return folder


def test_a_checkpoint_is_found(tmp_path):
    with pytest.raises(ConfigurationError, match="absent does not exist: name the --save-dir of a run"):
        find_checkpoint(str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="holds no checkpoint"):
        find_checkpoint(str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    for name in ("checkpoints/checkpoint_last.pt", "checkpoint_1_20.pt", "checkpoint_last.pt", "checkpoint_best.pt"):
        (tmp_path / name).touch()
        assert find_checkpoint(str(tmp_path)) == tmp_path / name
    assert find_checkpoint(str(tmp_path / "checkpoint_1_20.pt")) == tmp_path / "checkpoint_1_20.pt"


def test_log_and_events_say_the_same(trained):
    log, board = read_log(trained / "log").curves, read_events(trained / "tb")
    assert len(board.training("loss")) == 6 and len(board.validation("rnn_nll")) == 1
    for split in ("train_inner", "valid"):
        shared = {"loss", "trunk_nll", "ceiling_nll", "label_variance"} | ({"rnn_nll"} if split == "valid" else set())
        for name in shared:
            assert board.values[split][name] == pytest.approx(log.values[split][name], rel=1e-3), name


def test_damaged_events_are_told_or_passed_over(trained, tmp_path):
    (tmp_path / "valid").mkdir()
    whole = next((trained / "tb" / "valid").glob("events*")).read_bytes()
    for content in (b"", b"\0" * 100, whole[:-7], whole[:200] + b"x" * 50 + whole[250:], bytes(range(256)) * 20):
        (tmp_path / "valid" / "events.out.tfevents.1.x.1.0").write_bytes(content)
        try:
            read_events(tmp_path)
        except ConfigurationError as error:
            assert "are damaged" in str(error)


def test_a_run_is_read_and_its_last_validation_is_the_logs(data, trained):
    run = read_run(trained / "checkpoint_best.pt", "smt")
    assert run.updates == 60 and run.at in (60, *run.curves.validation("loss")) and run.missing == []
    assert run.seconds == run.with_earlier > 0 and run.parent is None and run.criterion == "smt"
    state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
    last = {k.removeprefix("valid_"): float(v) for k, v in records((trained / "log").read_text(), "valid")[-1].items()}
    found = last_validation(state)
    for name in ("rnn_nll", "ceiling_nll", "loss", "rnn_bpb", "drift_4", "label_variance"):
        assert found[name] == pytest.approx(last[name], abs=2e-3), name
    rnn = {k: v for k, v in state["model"].items() if k.startswith("decoder.rnn.")}
    assert run.parameters == sum(v.numel() for v in rnn.values())
    best = best_of(run, "rnn_nll")
    assert best.value == min(run.curves.validation("rnn_nll").values()) and best.update == run.at


def test_seconds_of_a_stage_are_its_own(stage, trained, tmp_path):
    run = read_run(stage / "checkpoint_last.pt", "dmt")
    assert run.seconds == pytest.approx(5) and run.with_earlier > 5
    smt = read_run(trained / "checkpoint_best.pt", "smt")
    rows = {row.title: [cell.text for cell in row.cells] for row in at_a_glance([smt, run])}
    assert rows["started from"] == ["–", "smt"] and rows["criterion"] == ["smt", "dmt"]
    assert best_of(run, "rnn_nll").update is None  # it has no curves: the checkpoint alone tells of it
    assert len(run.missing) == 2 and "--log-file" in run.missing[0] and "--tensorboard-logdir" in run.missing[1]


def test_what_is_found_by_itself_and_damaged_is_missing(stage, trained, tmp_path):
    state = torch.load(stage / "checkpoint_last.pt", weights_only=False)
    state["cfg"]["checkpoint"]["finetune_from_model"] = "gone.pt"
    torch.save(state, tmp_path / "checkpoint_best.pt")
    (tmp_path / "checkpoint_last.pt").write_bytes((stage / "checkpoint_last.pt").read_bytes()[:5000])
    (tmp_path / "tb" / "valid").mkdir(parents=True)
    whole = next((trained / "tb" / "valid").glob("events*")).read_bytes()
    (tmp_path / "tb" / "valid" / "events.out.tfevents.1").write_bytes(whole[:20] + bytes(range(256)) + whole[20:])
    (tmp_path / "a.log").write_bytes(bytes(range(256)))
    run = read_run(find_checkpoint(str(tmp_path)), "dmt")
    assert run.seconds is None and run.with_earlier > 5 and run.updates == run.at == 60
    end, before, log, board = run.missing
    assert end.startswith("The end of dmt: ") and "checkpoint_last.pt is damaged" in end
    assert before == "The seconds of dmt without the stages before it: gone.pt is not here."
    assert "--log-file" in log and "--tensorboard-logdir" in board and str(tmp_path / "tb") in board


def test_log_and_board_are_found_beside_a_folder_that_was_moved(trained, tmp_path):
    for name in ("inside", "beside"):
        (tmp_path / name).mkdir()
        state = torch.load(trained / "checkpoint_last.pt", weights_only=False)
        state["cfg"]["common"]["tensorboard_logdir"] = "/gone/tb"
        torch.save(state, tmp_path / name / "checkpoint_last.pt")
    shutil.copytree(trained / "tb", tmp_path / "inside" / "board")
    shutil.copy(trained / "log", tmp_path / "inside" / "train.log")
    shutil.copy(trained / "log", tmp_path / "beside.log")
    inside = read_run(tmp_path / "inside" / "checkpoint_last.pt", "inside")
    beside = read_run(tmp_path / "beside" / "checkpoint_last.pt", "beside")
    assert inside.missing == [] and inside.phases.total > 0
    assert len(beside.missing) == 1 and beside.missing[0].endswith("Its curves are those of its log.")
    assert beside.curves.validation("rnn_nll") == pytest.approx(inside.curves.validation("rnn_nll"), rel=1e-3)


def test_what_is_named_must_be_there(trained, tmp_path):
    path = trained / "checkpoint_last.pt"
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    for log, board, sentence in [
        (tmp_path / "absent", None, "the log .*absent cannot be read"),
        (tmp_path / "empty", None, "empty has no values of fairseq-train: name another one by --log-file"),
        (None, tmp_path / "absent", "--tensorboard-logdir .*absent is no folder"),
        (None, tmp_path / "folder", "--tensorboard-logdir .*folder has no values of fairseq-train"),
    ]:
        with pytest.raises(ConfigurationError, match=sentence):
            read_run(path, "smt", log and str(log), board and str(board))


def test_settings_are_those_that_differ(stage, trained):
    from fairseq import checkpoint_utils

    paths = (trained / "checkpoint_last.pt", stage / "checkpoint_last.pt")
    smt, dmt = (checkpoint_utils.load_checkpoint_to_cpu(str(path))["cfg"] for path in paths)
    found = {setting.flag: setting for setting in settings_of([smt, dmt])}
    assert found["--criterion"].values == ("smt", "dmt") and found["--criterion"].differs
    assert found["--drift-weight"].values == (None, "2") and found["--drift-weight"].default == "0.03"
    assert found["--tokens-per-sample"].values == ("32", "32") and not found["--tokens-per-sample"].differs
    assert found["--arch"].values == ("smt_lm_tiny",) * 2 and found["--lr"].default == "0.25"
    assert not {"--chunk", "--adam-betas", "--save-dir", "--future-weight", "--seed"} & set(found)
    flags = list(found.values())
    assert [s.differs for s in flags] == sorted((s.differs for s in flags), reverse=True)
    assert not any(setting.differs for setting in settings_of([smt]))
