"""Compiled parts give the results of plain ones, under the same names, without a compilation per block length."""

import copy
import logging

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fairseq_smt.core import compilation
from tests.support.toy import V, make_modules


@pytest.fixture(autouse=True)
def reset():
    torch._dynamo.reset()


@pytest.mark.skipif(compilation.missing() is not None, reason="there is no compiler")
@pytest.mark.parametrize("head", ["projection", "registers", "scan"])
def test_results_names_and_number_of_compilations(head):
    plain = make_modules("transformer", head)
    compiled = copy.deepcopy(plain)
    counter = CompileCounterWithBackend("aot_eager")
    compilation.compile_parts(compiled, counter)
    for length in (10, 7, 5, 9, 6):
        tokens = torch.randint(V, (3, length))
        for modules in (plain, compiled):
            modules.loss = modules.teacher(tokens)[0].square().sum(1).mul(torch.arange(4)).sum()
            modules.loss = modules.loss + modules.rnn(tokens)[0].square().mean()
            modules.loss.backward()
        assert torch.allclose(plain.loss, compiled.loss, atol=1e-5, rtol=1e-5)
    for part in ("rnn", "teacher"):
        one, other = getattr(plain, part), getattr(compiled, part)
        assert list(one.state_dict()) == list(other.state_dict())
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            assert (p.grad is None) == (q.grad is None)
            assert p.grad is None or torch.allclose(p.grad, q.grad, atol=1e-5, rtol=1e-4)
    assert 2 <= counter.frame_count <= 4  # two parts; the cell's first memory is an expanded one


def test_without_a_compiler_the_log_says_so(monkeypatch, caplog):
    modules = make_modules("transformer")
    monkeypatch.setattr(compilation.shutil, "which", lambda _: None)
    with caplog.at_level(logging.WARNING):
        compilation.compile_parts(modules)
    assert "--compile is left out" in caplog.text and modules.teacher.trunk._compiled_call_impl is None
