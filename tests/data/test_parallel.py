"""Several processes: results in order, a bounded number ahead, and failures that reach the caller."""

import os
import signal

import pytest

from fairseq_smt.core.errors import ConfigurationError, require
from fairseq_smt.data.parallel import ordered


@pytest.mark.parametrize("workers", [1, 3])
def test_results_are_in_order_and_few_are_ahead(workers):
    drawn = []

    def tasks():
        for i in range(50):
            drawn.append(i)
            yield i

    offset = 7  # a closure reaches the processes
    found = []
    for result in ordered(lambda i: i * i + offset, tasks(), workers):
        found.append(result)
        assert len(drawn) - len(found) < 2 * workers
    assert found == [i * i + 7 for i in range(50)]


def test_the_work_is_done_by_other_processes():
    processes = set(ordered(lambda _: os.getpid(), range(20), 2))
    assert processes and os.getpid() not in processes


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sentence_of_a_process_is_the_callers(workers):
    with pytest.raises(ConfigurationError, match="^not 3$"):
        list(ordered(lambda i: require(i != 3, f"not {i}"), range(9), workers))


def test_a_process_that_is_ended_from_outside():
    with pytest.raises(ConfigurationError, match="a process of --workers was ended"):
        list(ordered(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(9), 2))
