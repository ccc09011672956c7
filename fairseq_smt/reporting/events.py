"""TensorBoard's event files of a run."""

import logging
from pathlib import Path

from fairseq_smt.errors import ConfigurationError
from fairseq_smt.reporting.curves import EPOCHS, INNER, Curves

PATTERN = "events.out.tfevents.*"
OF_FAIRSEQ = (INNER, EPOCHS, "valid")
POINTS = 10_000
"""Values of a curve that are kept at most, spread over all."""


def holds_events(folder: Path) -> bool:
    """Whether fairseq has logged to a folder."""
    return any(next((folder / split).glob(PATTERN), None) for split in OF_FAIRSEQ)


def read_events(folder: Path) -> Curves:
    """Scalars of a `--tensorboard-logdir`, whose folders are named after splits.

    Raises:
        ConfigurationError: when a file in it cannot be read.
    """
    from tensorboard.backend.event_processing import event_accumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    kept = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 1) | {event_accumulator.SCALARS: POINTS}
    curves = Curves()
    for split in sorted(path.parent for path in folder.glob(f"*/{PATTERN}")):
        events = event_accumulator.EventAccumulator(str(split), size_guidance=kept)
        try:
            events.Reload()
            for name in events.Tags()[event_accumulator.SCALARS]:
                for event in events.Scalars(name):
                    curves.add(split.name, name, event.step, event.value)
        except Exception as error:  # whatever a foreign file makes of the library
            raise ConfigurationError(f"the TensorBoard files in {split} are damaged ({error}): remove them.") from error
    return curves
