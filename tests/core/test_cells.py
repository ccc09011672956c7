"""Cells, the sequential rollout and the recurrent language model."""

import pytest
import torch
from safetensors.torch import save_file

from fairseq_smt.core.cells import CELLS, build_cell
from fairseq_smt.core.configs import RnnConfig
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.language_model import RecurrentLanguageModel, choose
from fairseq_smt.core.memory import normalize_memory
from fairseq_smt.core.objectives import DaggerMemoryTraining, SupervisedMemoryTraining
from fairseq_smt.core.rollout import sequential, step_by_step
from tests.support.toy import FOLLOWERS, make_batch, make_modules

V, K, D = 11, 4, 8
SIZES = dict(cell_hidden=16, cell_layers=2, cell_heads=2)
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
cells = pytest.mark.parametrize("name", list(CELLS))
runners = pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if hasattr(cell, "run")])


def make_cell(name):
    torch.manual_seed(0)
    return build_cell(V, RnnConfig(K, D, name, **SIZES))


def make_model(name, **changes):
    torch.manual_seed(0)
    return RecurrentLanguageModel(V, RnnConfig(**(dict(memory_tokens=K, memory_width=D, cell=name, **SIZES) | changes)))


def make_tokens(batch=3, length=7, seed=1):
    return torch.randint(V, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", FOLLOWERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_step_keeps_shape_and_dtype_and_normalises(name, dtype):
    cell = make_cell(name).to(dtype)
    memory = normalize_memory(torch.randn(5, K, D)).to(dtype)
    after = cell(memory, cell.inputs(make_tokens(5, 1)[:, 0]))
    assert after.shape == memory.shape and after.dtype == dtype
    rms = after.float().square().mean(-1).sqrt()
    torch.testing.assert_close(rms, torch.ones(5, K), atol=1e-4 if dtype == torch.float32 else 1e-2, rtol=0)


@cells
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 0)], ids=str)
def test_inputs_add_one_axis(name, shape):
    inputs = make_cell(name).inputs(torch.zeros(shape, dtype=torch.long))
    assert inputs.shape[:-1] == shape and inputs.dim() == len(shape) + 1


@cells
def test_step_depends_on_memory_and_token(name):
    cell = make_cell(name)
    memory = normalize_memory(torch.randn(2, K, D))
    out = cell(memory[:1].expand(2, -1, -1), cell.inputs(torch.tensor([1, 2])))
    assert not torch.allclose(out[0], out[1])
    out = cell(memory, cell.inputs(torch.tensor([1, 1])))
    assert not torch.allclose(out[0], out[1])


def test_the_gru_is_torchs_with_a_normalised_state():
    cell, memory, tokens = make_cell("gru"), normalize_memory(torch.randn(5, K, D)), make_tokens(5, 1)[:, 0]
    theirs = torch.nn.GRUCell(16, K * D)
    names = dict(weight_ih="token_in.weight", bias_ih="token_in.bias", weight_hh="memory_in.weight")
    theirs.load_state_dict({a: cell.state_dict()[b] for a, b in (names | dict(bias_hh="memory_in.bias")).items()})
    expected = normalize_memory(theirs(cell.embedding(tokens), memory.flatten(1)).view_as(memory))
    torch.testing.assert_close(cell(memory, cell.inputs(tokens)), expected)


def test_the_lstm_is_torchs():
    """The values and gradients of nn.LSTM over a block, and its last state."""
    cell, tokens = make_cell("lstm").double(), make_tokens(5, 6)
    theirs = torch.nn.LSTM(16, K * D // 2, batch_first=True).double()
    copied = dict(weight_ih_l0=cell.token_in.weight, bias_ih_l0=cell.token_in.bias)
    copied |= dict(weight_hh_l0=cell.memory_in.weight, bias_hh_l0=cell.memory_in.bias)
    theirs.load_state_dict(copied)
    memory, weight = torch.randn(5, K, D).double(), torch.randn(5, 6, K * D // 2).double()
    start = tuple(z.view(1, 5, -1).contiguous() for z in memory.chunk(2, dim=1))
    expected, (_, state) = theirs(cell.embedding(tokens), start)
    found = sequential(cell, memory, cell.inputs(tokens))
    hidden = found[:, :, : K // 2].flatten(2)
    torch.testing.assert_close(hidden, expected)
    torch.testing.assert_close(found[:, -1, K // 2 :].flatten(1), state[0])
    grads = torch.autograd.grad((hidden * weight).sum(), [*copied.values(), cell.embedding.weight])
    expected = torch.autograd.grad(
        (expected * weight).sum(), [*(getattr(theirs, n) for n in copied), cell.embedding.weight]
    )
    for ours, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(ours, other)


def test_the_lstm_refuses_an_odd_memory():
    with pytest.raises(ConfigurationError, match="--memory-tokens 3 is odd"):
        make_model("lstm", memory_tokens=3)


def test_slots_give_a_value_back_to_its_key():
    """With an open gate and sharp addresses, what follows a key is read when the key comes again."""
    cell = make_cell("slots")
    keys = torch.tensor([[1.0] * (D // 2) + [-1.0] * (D // 2), [1.0, -1.0] * (D // 2)])
    other = torch.tensor([1.0, 1.0, -1.0, -1.0] * (D // 4))
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.address.weight.copy_(keys)
        cell.read_in.weight[2 * D :] = torch.eye(D)  # the register's new content is what is read

    def given(key, value=other, write=-99.0):
        return torch.cat((torch.zeros(3 * D), key, value, torch.tensor([write])))[None]

    memory = normalize_memory(torch.randn(1, K, D))
    values = torch.randn(2, D)
    for key, value in zip(keys, values, strict=True):
        memory = cell(cell(memory, given(key)), given(other, value, write=99.0))
    for key, value in zip(keys, values, strict=True):
        at = 2 + int(key @ keys[0] == 0)
        torch.testing.assert_close(memory[0, at], normalize_memory(value), atol=1e-3, rtol=0)
        register = torch.lerp(normalize_memory(value).tanh(), memory[0, 1], 0.5)
        torch.testing.assert_close(cell(memory, given(key))[0, 1], normalize_memory(register), atol=1e-2, rtol=0)


def test_slots_need_three_memory_tokens():
    with pytest.raises(ConfigurationError, match="--memory-tokens 2 is too few"):
        make_model("slots", memory_tokens=2)


@pytest.mark.parametrize("objective", [SupervisedMemoryTraining, DaggerMemoryTraining])
def test_the_lstm_follows_no_labels(objective):
    with pytest.raises(ConfigurationError, match="--cell lstm is a baseline"):
        objective()(make_modules("lstm"), make_batch())


@pytest.mark.parametrize("name", ["gru", "lstm"])
@pytest.mark.parametrize("length", [1, V // 3, V // 3 + 1, 40])
def test_inputs_are_the_same_from_a_table(name, length):
    """Three rows, on both sides of as many tokens as there are symbols."""
    cell, tokens = make_cell(name), make_tokens(3, length)
    found, expected = cell.inputs(tokens), cell.token_in(cell.embedding(tokens))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    weights = [cell.embedding.weight, cell.token_in.weight, cell.token_in.bias]
    grads = (torch.autograd.grad(x.square().mean(), weights) for x in (found, expected))
    for ours, other in zip(*grads, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-6, rtol=1e-6)


@runners
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("length", [1, 2, 9])
def test_a_run_has_the_values_and_gradients_of_its_steps(name, dtype, length):
    cell, tokens = make_cell(name).to(dtype), make_tokens(3, length)
    start = normalize_memory(torch.randn(3, K, D)).to(dtype).requires_grad_()
    weight = torch.randn(3, length, K, D).to(dtype)
    results = []
    for roll in (cell.run, lambda *given: step_by_step(cell, *given)):
        memories = roll(start, cell.inputs(tokens))
        grads = torch.autograd.grad((memories * weight).sum(), [start, *cell.parameters()])
        results.append([memories, *grads])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
    with torch.no_grad():
        torch.testing.assert_close(cell.run(start, cell.inputs(tokens)), results[1][0])


@runners
def test_a_runs_gradient_is_that_of_its_values(name):
    cell = make_cell(name).double()
    inputs = cell.inputs(make_tokens(2, 4)).detach().requires_grad_()
    start = torch.randn(2, K, D).double().requires_grad_()
    assert torch.autograd.gradcheck(cell.run, (start, inputs), fast_mode=True)


@runners
@pytest.mark.parametrize("low", ["autocast", "bfloat16"])
def test_half_precision_goes_step_by_step(name, low, monkeypatch):
    cell, tokens, memory = make_cell(name), make_tokens(2, 5), torch.randn(2, K, D)
    monkeypatch.setattr(type(cell), "run", lambda *_: pytest.fail("not in half precision"))
    if low == "bfloat16":
        cell, memory = cell.bfloat16(), memory.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low == "autocast"):
        assert sequential(cell, memory, cell.inputs(tokens)).shape == (2, 5, K, D)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_a_cell_whose_last_layers_are_zero_keeps_the_memory(name):
    """The residual path; the transformer adds its slots, which tell the memory's tokens apart."""
    cell, memory = make_cell(name), normalize_memory(torch.randn(5, K, D))
    outs = [cell.memory_out] if name == "mlp" else [m for b in cell.blocks for m in (b.attention.out, b.mlp_out)]
    for p in (p for out in outs for p in out.parameters()):
        torch.nn.init.zeros_(p)
    kept = memory if name == "mlp" else normalize_memory(memory + cell.slots)
    torch.testing.assert_close(cell(memory, cell.inputs(make_tokens(5, 1)[:, 0])), kept)


@cells
def test_sequential_equals_loop_with_gradients(name):
    cell, tokens = make_cell(name).double(), make_tokens(2, 5)
    start = torch.randn(2, K, D, dtype=torch.double, requires_grad=True)
    weight = torch.randn(2, 5, K, D, dtype=torch.double)
    leaves = [start, *cell.parameters()]
    memories = sequential(cell, start, cell.inputs(tokens))
    grads = torch.autograd.grad((memories * weight).sum(), leaves)

    loss, memory = 0, start
    for t in range(5):
        memory = cell(memory, cell.inputs(tokens[:, t]))
        torch.testing.assert_close(memories[:, t], memory)
        loss = loss + (memory * weight[:, t]).sum()
    for ours, expected in zip(grads, torch.autograd.grad(loss, leaves), strict=True):
        torch.testing.assert_close(ours, expected)


@cells
def test_sequential_of_nothing_is_empty(name):
    cell = make_cell(name)
    out = sequential(cell, torch.randn(2, K, D), cell.inputs(make_tokens(2, 0)))
    assert out.shape == (2, 0, K, D)


@cells
def test_model_of_nothing_returns_the_memory_given(name):
    model, memory = make_model(name), torch.randn(2, K, D)
    logits, last = model(make_tokens(2, 0), memory)
    assert logits.shape == (2, 0, V)
    assert torch.equal(last, memory)


@cells
@pytest.mark.parametrize("readout_hidden", [0, 5])
def test_forward_equals_step_by_step(name, readout_hidden):
    model, tokens = make_model(name, readout_hidden=readout_hidden), make_tokens()
    logits, last = model(tokens)
    assert logits.shape == (3, 7, V)
    memory = None
    for t in range(tokens.shape[1]):
        step_logits, memory = model.step(tokens[:, t], memory)
        torch.testing.assert_close(logits[:, t], step_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last, memory, atol=1e-5, rtol=1e-5)


@cells
@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_continuing_equals_one_pass(name, cut):
    model, tokens = make_model(name), make_tokens()
    logits, last = model(tokens)
    head, memory = model(tokens[:, :cut])
    tail, end = model(tokens[:, cut:], memory)
    torch.testing.assert_close(torch.cat((head, tail), 1), logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(end, last, atol=1e-5, rtol=1e-5)


@cells
def test_lengths_give_memory_after_last_real_token(name):
    model, tokens = make_model(name), make_tokens(4)
    lengths = torch.tensor([7, 3, 1, 0])
    logits, last = model(tokens, lengths=lengths)
    changed = torch.where(torch.arange(7) < lengths[:, None], tokens, (tokens + 1) % V)
    other, last_again = model(changed, lengths=lengths)
    torch.testing.assert_close(last, last_again)
    for row, n in enumerate(lengths.tolist()):
        alone, memory = model(tokens[row : row + 1, :n])
        torch.testing.assert_close(last[row : row + 1], memory, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(logits[row, :n], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(other[row, :n], alone[0], atol=1e-5, rtol=1e-5)


def test_a_hidden_readout_is_two_layers_with_gelu_between():
    model, memory = make_model("mlp", readout_hidden=5), torch.randn(2, K, D)
    hidden = torch.nn.functional.gelu(model.readout.hidden(memory.flatten(1)), approximate="tanh")
    torch.testing.assert_close(model.readout(memory), model.readout.out(hidden))


@cells
def test_initial_memory_is_normalised_and_trained(name):
    model = make_model(name)
    torch.testing.assert_close(model.initial(2).square().mean(-1), torch.ones(2, K))
    model(make_tokens())[0].logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.initial.weight.grad.abs().sum() > 0


@cells
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_follows_float32(name, dtype):
    model, tokens = make_model(name), make_tokens(2, 40)
    expected = model(tokens)[0].log_softmax(-1)
    logits, last = model.to(dtype)(tokens)
    assert logits.dtype == last.dtype == dtype
    assert last.isfinite().all()
    torch.testing.assert_close(logits.float().log_softmax(-1), expected, atol=0.2, rtol=0)


@cells
def test_autocast_steps_on_its_own_output(name):
    model, tokens = make_model(name), make_tokens(2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, last = model(tokens)
        logits.logsumexp(-1).sum().backward()
    assert last.isfinite().all() and all(p.grad.isfinite().all() for p in model.parameters())


@cells
@pytest.mark.parametrize("readout_hidden", [0, 5])
def test_save_load_roundtrip(name, readout_hidden, tmp_path):
    model = make_model(name, readout_hidden=readout_hidden)
    model.save(tmp_path / "model.safetensors")
    loaded = RecurrentLanguageModel.load(tmp_path / "model.safetensors")
    assert loaded.sizes == model.sizes and loaded.vocabulary == model.vocabulary
    assert torch.equal(loaded(make_tokens())[0], model(make_tokens())[0])


@pytest.mark.parametrize("damage", ["garbage", "empty", "truncated", "short header", "missing"])
def test_load_names_a_damaged_file(damage, tmp_path):
    path = tmp_path / "model.safetensors"
    make_model("mlp").save(path)
    data = path.read_bytes()
    content = {"garbage": b"garbage" * 50, "empty": b"", "truncated": data[: len(data) // 2], "short header": data[:20]}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[damage])
    with pytest.raises(ConfigurationError, match="model.safetensors"):
        RecurrentLanguageModel.load(path)


def test_load_refuses_another_safetensors_file(tmp_path):
    save_file({"x": torch.ones(2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(ConfigurationError, match="other.safetensors"):
        RecurrentLanguageModel.load(tmp_path / "other.safetensors")


@cells
def test_greedy_equals_argmax_loop(name):
    model, prompt = make_model(name), make_tokens(3, 4)
    expected = prompt
    for _ in range(6):
        expected = torch.cat((expected, model(expected)[0][:, -1:].argmax(-1)), 1)
    assert torch.equal(model.generate(prompt, 6, temperature=0), expected[:, 4:])
    assert torch.equal(model.generate(prompt, 6, temperature=0), model.generate(prompt, 6, temperature=0))


@cells
@pytest.mark.parametrize("options", [dict(top_k=1), dict(top_p=1e-6), dict(top_k=1, top_p=0.5)], ids=str)
def test_narrow_sampling_equals_greedy(name, options):
    model, prompt = make_model(name), make_tokens(3, 4)
    assert torch.equal(model.generate(prompt, 8, **options), model.generate(prompt, 8, temperature=0))


@cells
def test_sampling_repeats_with_the_generator(name):
    model, prompt = make_model(name), make_tokens(3, 4)
    runs = [model.generate(prompt, 8, top_k=50, top_p=0.9, generator=torch.Generator().manual_seed(3)) for _ in "ab"]
    assert torch.equal(*runs)
    assert runs[0].shape == (3, 8) and 0 <= runs[0].min() and runs[0].max() < V


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "kept"),
    [(1, 0, 1, 5), (2, 0, 1, 5), (0.5, 0, 1, 5), (1, 2, 1, 2), (1, 0, 0.9, 3), (2, 0, 0.9, 4), (1, 2, 0.7, 1)],
    ids=["all", "hot", "cold", "top-k", "top-p", "hot top-p", "top-p of top-k"],
)
def test_sampling_follows_the_probabilities_of_what_is_kept(temperature, top_k, top_p, kept):
    """Of softmax(2, 1, 0, -1, -3), 0.88 lie on the first two, 0.97 on three; at temperature 2 0.90 on three."""
    logits = torch.tensor([0.0, -1.0, 2.0, -3.0, 1.0])
    weights = (logits / temperature).exp() * (logits >= logits.sort(descending=True).values[kept - 1])
    drawn = choose(logits.expand(20000, -1), temperature, top_k, top_p, torch.Generator().manual_seed(1))
    share = torch.bincount(drawn, minlength=5) / 20000
    torch.testing.assert_close(share, weights / weights.sum(), atol=0.015, rtol=0)
    assert not share[weights == 0].any()


@cells
def test_generate_continues_from_memory(name):
    model, prompt = make_model(name), make_tokens(2, 6)
    memory = model(prompt[:, :4])[1]
    expected = model.generate(prompt, 5, temperature=0)
    assert torch.equal(model.generate(prompt[:, 4:], 5, temperature=0, memory=memory), expected)


def test_generate_no_steps():
    assert make_model("mlp").generate(make_tokens(2, 3), 0).shape == (2, 0)


@pytest.mark.parametrize(
    ("length", "options", "word"),
    [
        (0, {}, "prompt"),
        (3, dict(top_p=0.0), "top_p"),
        (3, dict(top_p=1.5), "top_p"),
        (3, dict(temperature=-1.0), "temperature"),
        (3, dict(temperature=float("nan")), "temperature"),
        (3, dict(top_k=-1), "top_k"),
    ],
    ids=["empty prompt", "top_p 0", "top_p above 1", "negative temperature", "nan temperature", "negative top_k"],
)
def test_generate_refuses(length, options, word):
    with pytest.raises(ConfigurationError, match=word):
        make_model("mlp").generate(make_tokens(2, length), 2, **options)


@pytest.mark.parametrize(
    ("name", "changes", "word"),
    [
        ("unknown", {}, "unknown"),
        *[
            (name, {size: value}, size.replace("_", "-"))
            for name in CELLS
            for size in ("memory_tokens", "memory_width", "cell_hidden")
            for value in (0, -1)
        ],
        ("transformer", dict(cell_heads=0), "heads"),
        ("transformer", dict(cell_heads=3), "heads"),
        ("transformer", dict(cell_heads=8), "heads"),
    ],
    ids=str,
)
def test_bad_sizes_are_refused(name, changes, word):
    with pytest.raises(ConfigurationError, match=word):
        make_model(name, **changes)
