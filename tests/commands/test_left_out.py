"""What a command line may leave out."""

from tests.support.commands import fairseq, run


def test_everything_but_the_plugin_has_a_default(data, tmp_path):
    plugin = ["--task", "smt_lm", "--arch", "smt_lm_tiny", "--criterion", "smt"]
    here = ["--max-update", 2, "--save-dir", tmp_path, "--disable-validation", "--required-batch-size-multiple", 1]
    output = fairseq("train", data, *plugin, *here)
    assert "'lr': [0.008]" in output and "done training" in output


def test_validating_a_probe_needs_no_batch_size(tmp_path):
    probe = ["--task", "smt_probe", "--probe", "parity", "--tokens-per-sample", 8, "--probe-valid-size", 16]
    train = ["--arch", "smt_lm_tiny", "--criterion", "smt", "--max-update", 1, "--futures", 2, "--save-dir", tmp_path]
    run("fairseq-train", "--user-dir", "fairseq_smt", *probe, *train, "--cpu", "--disable-validation")
    line = ["--user-dir", "fairseq_smt", "--task", "smt_probe", "--path", tmp_path / "checkpoint_last.pt"]
    output = run("fairseq-validate", *line, "--valid-subset", "test")
    assert "valid on 'test' subset | loss" in output
