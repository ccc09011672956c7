"""A place that cannot be written is told before the work: even before a checkpoint is looked for."""

import fairseq  # noqa: F401
import pytest

from fairseq_smt.cli import cache_labels, complete_pixels, diagnose, report
from fairseq_smt.errors import ConfigurationError

ABSENT = ["--path", "absent.pt"]
COMMANDS = {
    "report": (report.main, ["absent", "--output", "{}/report.html"]),
    "diagnose": (diagnose.main, ["DATA", *ABSENT, "--output", "{}"]),
    "diagnose-tensorboard": (diagnose.main, ["DATA", *ABSENT, "--output", "here", "--tensorboard-logdir", "{}/tb"]),
    "cache-labels": (cache_labels.main, ["DATA", *ABSENT, "--label-cache", "{}/labels"]),
    "complete-pixels": (complete_pixels.main, ["DATA", *ABSENT, "--output", "{}/images.png"]),
}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path, name):
    """/proc takes no files, not even of root."""
    main, line = COMMANDS[name]
    arguments = [word.format("/proc/absent") for word in line]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [f"fairseq-smt-{name}", *arguments])
    with pytest.raises(
        ConfigurationError, match="^(/proc/absent.* of --output|--[a-z-]+ /proc/absent.*) cannot be written"
    ):
        main()
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_file(monkeypatch, tmp_path):
    with pytest.raises(ConfigurationError, match="of --output is a folder: name a file"):
        report.main(["absent", "--output", str(tmp_path)])
