"""How long calls take, in rounds over all cases, so that a slow spell of the machine meets every one of them."""

import statistics
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch

Case = TypeVar("Case", bound=Hashable)


def seconds(run: Callable[[], object], device: torch.device, at_least: float) -> float:
    """Seconds of one call, the mean of as many as `at_least` seconds need: CPU time, or on a GPU synchronised time."""
    cuda = device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    wait = torch.cuda.synchronize if cuda else lambda: None
    wait()
    start, times = clock(), 0
    while times == 0 or clock() - start < at_least:
        run()
        times += 1
        wait()
    return (clock() - start) / times


def rounds(
    cases: Mapping[Case, Callable[[], object]], device: torch.device, number: int, at_least: float, what: str
) -> dict[Case, list[float]]:
    """The `seconds` of every case in each of `number` rounds; a round before them warms up.

    Args:
        what: is measured; the progress on stderr says so.
    """
    found: dict[Case, list[float]] = {case: [] for case in cases}
    for round_ in range(number + 1):
        for case, run in cases.items():
            found[case].append(seconds(run, device, at_least))
        print(f"{what}: round {round_} of {number}", file=sys.stderr)
    return {case: values[1:] for case, values in found.items()}


def medians(found: Mapping[Case, list[float]]) -> dict[Case, float]:
    """The median of every case over its rounds."""
    return {case: statistics.median(values) for case, values in found.items()}
