"""What a run has spent: a stopwatch and two counters that a checkpoint takes along."""

import time

from fairseq_smt.core.spent import Spent


def work(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_the_stopwatch_stands_between_stop_and_start():
    spent = Spent()
    work(0.05)
    assert spent.state_dict() == {"seconds": 0.0, "tokens": 0, "depth": 0}
    spent.start()
    work(0.05)
    spent.start()
    running = spent.state_dict()["seconds"]
    assert running >= 0.05 and spent.state_dict()["seconds"] > running
    spent.stop()
    stood = spent.seconds
    work(0.05)
    spent.stop()
    assert spent.state_dict()["seconds"] == stood < time.process_time()


def test_a_resumed_run_adds_to_what_was_spent():
    first, second = Spent(), Spent()
    first.load_state_dict({"seconds": 3.5, "tokens": 100, "depth": 7})
    first.tokens += 1
    second.load_state_dict(first.state_dict())
    second.start()
    work(0.01)
    found = second.state_dict()
    assert found["tokens"] == 101 and found["depth"] == 7 and 3.51 <= found["seconds"]
