"""Compiled parts give the results of plain ones, under the same names, and what cannot be compiled runs as before."""

import copy
import logging
import shutil
from functools import partial

import pytest
import torch

from fairseq_smt.core import compilation
from fairseq_smt.core.cells import CELLS
from fairseq_smt.core.future import FUTURES
from fairseq_smt.core.teacher import HEADS
from tests.support.toy import D, K, V, make_modules


@pytest.fixture(autouse=True)
def reset(monkeypatch):
    torch.compiler.reset()
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)  # a megabyte of debugging text per test


def compile_both(modules, backend):
    compilation.compile_calls(modules.teacher.trunk, "trunk", backend)
    compilation.compile_calls(modules.rnn.cell, "cell", backend)


def results(modules, tokens):
    """A loss on labels and memories, and its gradients."""
    labels, memories = modules.teacher(tokens)[0], modules.rnn.unroll(tokens)
    loss = (labels - memories).square().mean() + labels[:, -1].sum()
    weights = [*modules.rnn.parameters(), *modules.teacher.parameters()]
    return loss, *torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)


def assert_same(plain, compiled, tokens):
    for ours, theirs in zip(results(compiled, tokens), results(plain, tokens), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_results_names_and_number_of_compilations():
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("eager")
    plain = make_modules("transformer", "projection")
    compiled = copy.deepcopy(plain)
    compile_both(compiled, counter)
    for length in (5, 3, 6):
        assert_same(plain, compiled, torch.randint(V, (3, length)))
    assert list(compiled.rnn.state_dict()) == list(plain.rnn.state_dict())
    assert list(compiled.teacher.state_dict()) == list(plain.teacher.state_dict())
    assert counter.frame_count <= 3  # the cell twice: its first memory is an expanded one


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
def test_compiled_code_gives_the_results(pytestconfig, caplog):
    if not pytestconfig.getoption("stress"):
        pytest.skip("half a minute of compiling: --stress")
    cell, arguments = cell_call("transformer")
    compiled = copy.deepcopy(cell)
    compilation.compile_calls(compiled, "cell")
    with torch.no_grad():
        torch.testing.assert_close(compiled(*arguments), cell(*arguments))
    assert "left out" not in caplog.text


def cell_call(name):
    cell = make_modules(name, memory=(2 * K, D)).rnn.cell
    return cell, (torch.randn(3, 2 * K, D), cell.inputs(torch.randint(V, (3,))).detach())


def teacher_call(head):
    return make_modules(head=head).teacher.at, (torch.randint(V, (3, 5)), torch.tensor([[1, 4]] * 3))


def future_call(name):
    t = torch.tensor([[0, 2]] * 3)
    arguments = torch.randn(3, 2, K, D), torch.randint(V, (3, 6)), t, t[..., None] + torch.arange(3)
    return make_modules(future=name).future.features, arguments


CALLS = {
    **{f"cell {name}": partial(cell_call, name) for name in CELLS},
    **{f"teacher {head}": partial(teacher_call, head) for head in HEADS},
    **{f"future {name}": partial(future_call, name) for name in FUTURES},
    "readout": lambda: (make_modules().rnn.readout, (torch.randn(3, K, D),)),
}


@pytest.mark.parametrize("part", CALLS)
def test_parts_are_one_graph(part):
    call, arguments = CALLS[part]()
    explained = torch._dynamo.explain(call)(*arguments)
    assert explained.graph_count == 1 and explained.graph_break_count == 0, explained.break_reasons


def broken(graph, inputs):
    raise ValueError("no code for that\nand a long story")


def test_what_cannot_be_compiled_runs_as_before(caplog):
    plain = make_modules("transformer")
    compiled = copy.deepcopy(plain)
    compile_both(compiled, broken)
    with caplog.at_level(logging.WARNING):
        for length in (4, 3):
            assert_same(plain, compiled, torch.randint(V, (3, length)))
    assert caplog.text.count("is left out") == 2 and caplog.text.count("(ValueError: no code for that).") == 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
def test_on_a_cpu_the_trunk_is_left_alone(caplog):
    modules = make_modules("gru")
    compilation.compile_parts(modules, broken)
    modules.teacher(torch.randint(V, (3, 4)))
    assert "left out for the teacher's trunk: it gains too little on a CPU" in caplog.text


def test_the_log_says_what_is_missing(monkeypatch, caplog):
    modules = make_modules("transformer")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    compilation.compile_parts(modules)
    assert "--compile is left out: there is no C++ compiler: install g++" in caplog.text
    assert modules.rnn.cell._compiled_call_impl is None
