"""The teacher's labels and the future predictors: what may depend on what."""

import pytest
import torch
import torch.nn.functional as F

from fairseq_smt.core.configs import FutureConfig, RnnConfig, TeacherConfig
from fairseq_smt.core.errors import ConfigurationError
from fairseq_smt.core.future import build_future
from fairseq_smt.core.layers import CausalConvolution, rotary_table, rotate
from fairseq_smt.core.memory import normalize_memory
from fairseq_smt.core.random import draw_positions, gather, keyed_uniform
from fairseq_smt.core.teacher import CAUSAL_HEADS, HEADS, build_teacher, fingerprint

V, K, D, T = 11, 3, 8, 12
DTYPES = [torch.float32, torch.float64]
HALF = [torch.bfloat16, torch.float16]
heads = pytest.mark.parametrize("head", HEADS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def make_teacher(head="projection", dtype=torch.float32, **changes):
    torch.manual_seed(0)
    sizes = dict(trunk_width=16, trunk_layers=2, trunk_heads=2) | changes
    return build_teacher(V, RnnConfig(K, D), TeacherConfig(head, **sizes)).to(dtype)


def make_tokens(batch=3, length=T, seed=1):
    return torch.randint(V, (batch, length), generator=torch.Generator().manual_seed(seed))


def make_future(name, futures=4):
    torch.manual_seed(0)
    return build_future(V, RnnConfig(K, D), FutureConfig(name, futures, 16, future_layers=2, future_heads=2))


def lengths_to_mask(*lengths):
    return torch.arange(T) < torch.tensor(lengths)[:, None]


def draws(batch, n, stream=0):
    return keyed_uniform(1, 2, stream, torch.arange(batch), n)


@heads
@pytest.mark.parametrize("dtype", [*DTYPES, *HALF], ids=str)
def test_labels_have_rms_one(head, dtype):
    labels = make_teacher(head, dtype).labels(make_tokens())
    assert labels.shape == (3, T, K, D) and labels.dtype == dtype
    rms = labels.float().square().mean(-1).sqrt()
    torch.testing.assert_close(rms, torch.ones(3, T, K), atol=1e-2 if dtype in HALF else 1e-3, rtol=0)


@heads
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_follows_float32(head, dtype):
    expected = make_teacher(head).labels(make_tokens())
    torch.testing.assert_close(make_teacher(head, dtype).labels(make_tokens()).float(), expected, atol=0.2, rtol=0)


@heads
@pytest.mark.parametrize("shape", [(2, 0), (0, T), (1, 1)], ids=str)
def test_labels_of_little_or_nothing(head, shape):
    assert make_teacher(head).labels(torch.zeros(shape, dtype=torch.long)).shape == (*shape, K, D)


@heads
def test_labels_at_positions_are_those_of_all_positions(head):
    teacher, tokens = make_teacher(head), make_tokens()
    positions = torch.tensor([[0, 4, 11], [3, 3, 7], [10, 1, 2]])
    expected = gather(teacher.labels(tokens), positions)
    torch.testing.assert_close(teacher.at(tokens, positions), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", list(CAUSAL_HEADS))
def test_causal_teachers_also_give_the_trunks_states(head):
    assert make_teacher(head)(make_tokens())[1].shape == (3, T, 16)


@heads
@dtypes
@pytest.mark.parametrize("t", [0, 1, 5, T - 2])
def test_labels_are_causal(head, dtype, t):
    teacher, tokens = make_teacher(head, dtype), make_tokens()
    labels = teacher.labels(tokens)
    changed = tokens.clone()
    changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % V
    other = teacher.labels(changed)
    torch.testing.assert_close(other[:, : t + 1], labels[:, : t + 1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(teacher.labels(tokens[:, : t + 1]), labels[:, : t + 1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(other[:, t + 1], labels[:, t + 1], atol=1e-3)


@heads
def test_labels_reach_back_to_the_first_token(head):
    teacher, tokens = make_teacher(head, torch.float64), make_tokens()
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % V
    assert (teacher.labels(tokens)[:, -1] - teacher.labels(changed)[:, -1]).abs().amax() > 1e-8


@heads
def test_padding_leaves_labels_untouched(head):
    teacher, tokens = make_teacher(head), make_tokens()
    padded = torch.cat((tokens, torch.zeros(3, 5, dtype=torch.long)), 1)
    real = torch.arange(T + 5).expand(3, -1) < T
    torch.testing.assert_close(teacher.labels(padded, real)[:, :T], teacher.labels(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [4, 128])
def test_window_teacher_ignores_padding_on_either_side(window):
    teacher, tokens = make_teacher("window", teacher_window=window), make_tokens()
    padded = torch.cat((torch.ones(3, 4, dtype=torch.long), tokens, torch.ones(3, 2, dtype=torch.long)), 1)
    time = torch.arange(T + 6).expand(3, -1)
    labels = teacher.labels(padded, (time >= 4) & (time < T + 4))
    assert labels.isfinite().all()
    torch.testing.assert_close(labels[:, 4:-2], teacher.labels(tokens), atol=1e-5, rtol=1e-5)


def test_window_teacher_sees_its_window_only():
    teacher, tokens = make_teacher("window", teacher_window=4), make_tokens()
    changed = tokens.clone()
    changed[:, 2] = (changed[:, 2] + 1) % V
    moved = (teacher.labels(changed) - teacher.labels(tokens)).abs().amax((0, 2, 3)) > 1e-4
    assert moved.tolist() == [2 <= t < 6 for t in range(T)]


def test_window_teacher_equals_one_pass_per_window():
    """The plain loop: every window alone, without padding."""
    teacher, tokens = make_teacher("window", teacher_window=5), make_tokens()
    labels = teacher.labels(tokens)
    for t in range(T):
        window = tokens[:, max(0, t - 4) : t + 1]
        alone = teacher.at(window, torch.full((3, 1), window.shape[1] - 1))
        torch.testing.assert_close(alone[:, 0], labels[:, t], atol=1e-5, rtol=1e-5)


def test_window_teacher_is_an_encoder_in_which_all_attend_to_all():
    """Of a window that is full: no mask at all."""
    teacher, tokens = make_teacher("window", teacher_window=T), make_tokens()
    x = torch.cat((teacher.embedding(tokens), teacher.registers.expand(3, -1, -1)), 1)
    rotary = rotary_table(T + K, 8, x)
    for block in teacher.blocks:
        x = block(x, rotary)
    expected = normalize_memory(teacher.out(teacher.norm(x[:, T:])))
    torch.testing.assert_close(teacher.labels(tokens)[:, -1], expected, atol=1e-5, rtol=1e-5)


def test_convolution_adds_a_loop_over_its_taps():
    convolution, x = CausalConvolution(5, 3), torch.randn(2, 7, 5)
    found = convolution(x)
    for t in range(7):
        expected = sum(convolution.weight[lag] * x[:, t - lag] for lag in range(3) if lag <= t)
        torch.testing.assert_close(found[:, t], x[:, t] + expected)


@pytest.mark.parametrize("register_layers", [1, 2, 3])
def test_registers_equal_a_loop_over_positions(register_layers):
    """The plain loop: position by position, registers attend to the states of the tokens up to it, layer by layer."""
    teacher = make_teacher("registers", torch.float64, trunk_layers=3, register_layers=register_layers)
    tokens = make_tokens()
    labels, hidden = teacher(tokens)
    trunk, head = teacher.trunk, teacher.head
    rotary = rotary_table(T, 8, trunk.embedding.weight)
    x = trunk.embedding(tokens)
    registers = None
    for i, block in enumerate(trunk.blocks):
        if i == 3 - register_layers:
            registers = x[:, :, None] + head.registers
        if registers is not None:
            keys = block.convolution(block.norm_attention(x))
            q, k, v = (
                F.linear(y, w)
                for y, w in zip(
                    (block.norm_attention(registers), keys, keys), block.attention.qkv.weight.chunk(3), strict=True
                )
            )
            out = torch.zeros_like(registers)
            for t in range(T):
                for h in (slice(0, 8), slice(8, 16)):
                    at_t = (rotary[0][t], rotary[1][t])
                    query = rotate(q[:, t, :, h], at_t)
                    score = query @ rotate(k[:, : t + 1, h], (rotary[0][: t + 1], rotary[1][: t + 1])).mT / 8**0.5
                    out[:, t, :, h] = score.softmax(-1) @ v[:, : t + 1, h]
            registers = block._mlp(registers + block.attention.out(out))
        x = block(x, rotary)
    torch.testing.assert_close(hidden, trunk.norm(x))
    torch.testing.assert_close(labels, normalize_memory(head.projection(trunk.norm(registers))))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_scan_head_equals_its_formula_and_adds_up_in_float32(dtype):
    teacher = make_teacher("scan", dtype)
    labels, hidden = teacher(make_tokens(length=60))
    head, precise = teacher.head, torch.promote_types(dtype, torch.float32)
    z, c = head.gate(hidden).to(precise).sigmoid(), head.content(hidden)
    state, states = head.start.to(precise), []
    for t in range(60):
        state = (1 - z[:, t]) * state + z[:, t] * c[:, t]
        states.append(normalize_memory(state.unflatten(-1, (K, D))))
    assert ((labels - torch.stack(states, 1).to(dtype)).abs() < 1e-6).float().mean() > 0.999
    assert z.mean() < 0.2, "the gates begin nearly closed"


@heads
def test_rows_do_not_mix(head):
    teacher, tokens = make_teacher(head), make_tokens()
    torch.testing.assert_close(teacher.labels(tokens)[1:2], teacher.labels(tokens[1:2]), atol=1e-5, rtol=1e-5)


@heads
@torch.no_grad()
def test_the_fingerprint_depends_on_the_last_number_of_every_tensor(head):
    teacher = make_teacher(head)
    found = {fingerprint(teacher)}
    for p in teacher.parameters():
        p.flatten()[-1] += 1
        found.add(fingerprint(teacher))
    assert len(found) == 1 + len(list(teacher.parameters()))


@heads
def test_gradient_reaches_every_parameter(head):
    teacher = make_teacher(head)
    labels = teacher.labels(make_tokens())
    (labels * torch.randn_like(labels)).sum().backward()
    for name, parameter in teacher.named_parameters():
        if name.startswith("language_model_head"):
            continue
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "changes",
    [dict(trunk_layers=0), dict(trunk_width=0), dict(trunk_heads=0), dict(trunk_heads=3), dict(trunk_heads=16)],
    ids=str,
)
@heads
def test_bad_sizes_are_refused(head, changes):
    with pytest.raises(ConfigurationError, match="--trunk"):
        make_teacher(head, **changes)


@pytest.mark.parametrize(
    ("head", "changes", "flag"),
    [
        ("unknown", {}, "--memory-head unknown"),
        ("window", dict(teacher_window=0), "--teacher-window"),
        ("registers", dict(register_layers=0), "--register-layers"),
        ("registers", dict(register_layers=3), "--register-layers"),
        ("projection", dict(trunk_convolution=-1), "--trunk-convolution"),
    ],
    ids=str,
)
def test_bad_heads_are_refused(head, changes, flag):
    with pytest.raises(ConfigurationError, match=flag):
        make_teacher(head, **changes)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("unknown", {}),
        ("window", dict(futures=-1)),
        ("window", dict(future_layers=0)),
        ("window", dict(future_heads=3)),
        ("far", dict(futures=0)),
    ],
    ids=str,
)
def test_bad_predictor_sizes_are_refused(name, changes):
    with pytest.raises(ConfigurationError, match="--"):
        build_future(V, RnnConfig(K, D), FutureConfig(name, **(dict(future_width=16, future_heads=2) | changes)))


@pytest.mark.parametrize("futures", [1, 4, 0])
def test_window_logits_see_memory_and_tokens_up_to_their_target(futures):
    future, tokens = make_future("window", futures), make_tokens(2)
    t = torch.tensor([[0, 3], [2, 5]])
    s, _ = future.targets_for(t, torch.ones_like(tokens, dtype=torch.bool), draws(2, 0))
    memory = torch.randn(2, 2, K, D)
    logits = future(memory, tokens, t, s)
    assert logits.shape == (*s.shape, V)
    for changed_at in range(T):
        changed = tokens.clone()
        changed[:, changed_at] = (changed[:, changed_at] + 1) % V
        moved = (future(memory, changed, t, s) - logits).abs().amax(-1)
        blind = (s < changed_at) | (t >= changed_at)[..., None]
        assert moved[blind].sum() < 1e-5
        assert (moved[(s == changed_at) & ~blind] > 1e-4).all()
    assert ((future(memory.flip(1), tokens, t, s) - logits).abs().amax(-1) > 1e-4).all()


def test_far_logits_see_the_last_inputs_after_t_only():
    future, tokens = make_future("far", 3), make_tokens(2)
    t = torch.tensor([[0, 4], [2, 7]])
    s = torch.tensor([[[0, 5, 11], [4, 6, 11]], [[2, 3, 10], [7, 8, 11]]])
    memory = torch.randn(2, 2, K, D)
    logits = future(memory, tokens, t, s)
    assert logits.shape == (2, 2, 3, V) and logits.isfinite().all()
    for changed_at in range(T):
        changed = tokens.clone()
        changed[:, changed_at] = (changed[:, changed_at] + 1) % V
        moved = (future(memory, changed, t, s) - logits).abs().amax(-1)
        seen = (changed_at > t[..., None]) & (changed_at <= s) & (changed_at > s - future.SEEN)
        assert moved[~seen].sum() < 1e-6
        assert (moved[seen] > 1e-5).all()
    assert ((future(memory.flip(1), tokens, t, s) - logits).abs().amax(-1) > 1e-5).all()


def test_far_logits_depend_on_the_place_of_their_target_and_on_its_distance():
    """Where the memory and all inputs are the same: one pair at one distance, one pair at one place."""
    future, tokens = make_future("far", 1), torch.ones(1, T, dtype=torch.long)
    t, s = torch.tensor([[0, 1, 0]]), torch.tensor([[[9], [10], [10]]])
    logits = future(torch.randn(1, 1, K, D).expand(-1, 3, -1, -1), tokens, t, s)[0, :, 0]
    assert (logits[0] - logits[1]).abs().max() > 1e-3 and (logits[1] - logits[2]).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "futures"), [("window", 3), ("window", 0), ("window", 50), ("far", 1), ("far", 5)])
def test_targets_for_returns_asked_targets_only(name, futures):
    future = make_future(name, futures)
    real = lengths_to_mask(12, 7, 3, 1, 0)
    asked = real & (torch.rand(5, T, generator=torch.Generator().manual_seed(0)) < 0.5)
    t, eligible = draw_positions(future.eligible(real, asked), draws(5, 6))
    s, valid = future.targets_for(t, asked, draws(5, 6 * futures, stream=1))
    assert s.shape == valid.shape and s.shape[:2] == t.shape
    valid = valid & eligible[..., None]
    assert asked[torch.arange(5)[:, None, None], s][valid].all()
    assert (s >= t[..., None])[valid].all()
    assert real[torch.arange(5)[:, None], t][eligible].all()
    assert not valid[4].any()
    if name == "far":
        assert torch.equal(valid.any(2), eligible) and torch.equal(valid.all(2), eligible)
        assert torch.equal(eligible.any(1), asked.any(1))


@pytest.mark.parametrize("futures", [1, 3, 7])
def test_window_fits_into_the_real_part(futures):
    future, real = make_future("window", futures), lengths_to_mask(12, 8, 7)
    t, eligible = draw_positions(future.eligible(real, real), draws(3, 40))
    s, valid = future.targets_for(t, real, draws(3, 0))
    assert eligible.all() and valid.all()
    assert torch.equal(s, t[..., None] + torch.arange(futures))


def test_no_limit_goes_to_the_end_of_the_block():
    future, asked = make_future("window", 0), torch.ones(2, T, dtype=torch.bool)
    t = torch.tensor([[0, 5], [11, 3]])
    s, valid = future.targets_for(t, asked, draws(2, 0))
    assert torch.equal(valid.sum(-1), T - t)
    assert torch.equal(s[0, 1][valid[0, 1]], torch.arange(5, T))


def test_far_draws_every_target_sooner_or_later():
    future, asked = make_future("far", 400), torch.zeros(1, T, dtype=torch.bool)
    asked[0, [2, 5, 9]] = True
    s, valid = future.targets_for(torch.tensor([[4]]), asked, draws(1, 400))
    assert valid.all() and set(s.flatten().tolist()) == {5, 9}


def test_far_logits_are_finite_where_no_target_lies_ahead():
    future, tokens = make_future("far", 3), make_tokens(2)
    t, asked = torch.full((2, 1), 5), torch.zeros(2, T, dtype=torch.bool)
    s, valid = future.targets_for(t, asked, torch.rand(2, 3))
    assert not valid.any() and future(torch.randn(2, 1, K, D), tokens, t, s).isfinite().all()
