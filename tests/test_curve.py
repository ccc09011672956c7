"""The loss curve of the tiny recipe, recorded when the first version was finished: refactoring must not move it.

On the machine and torch that recorded it the curve is compared to the bit, elsewhere to rounding. After a change that
is meant to move it: python -m tests.test_curve
"""

import json
import platform
from pathlib import Path

import pytest
import torch

RECORD = Path(__file__).parent / "support/tiny_curve.json"
UPDATES, BATCH, LENGTH, SYMBOLS = 20, 8, 32, 36


def environment() -> dict[str, str]:
    """What the last bits of a float32 sum depend on."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        wanted = ("vendor_id", "cpu family", "model", "stepping")
        cpu = " ".join(line.partition(":")[2].strip() for line in first if line.partition(":")[0].strip() in wanted)
    return {
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def curve() -> list[float]:
    """Losses of 20 updates of `smt_lm_tiny` with criterion `smt`, through the adapters but not fairseq's trainer."""
    import fairseq  # noqa: F401
    from fairseq.data import Dictionary

    import fairseq_smt
    from fairseq_smt.core.random import keyed_uniform

    fairseq_smt.register()
    from fairseq_smt.criterions.smt import SmtCriterion, SmtCriterionConfig
    from fairseq_smt.models.presets import PRESETS
    from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig
    from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig, SmtLanguageModelingTask

    dictionary = Dictionary()
    for i in range(SYMBOLS):
        dictionary.add_symbol(f"s{i}")
    task = SmtLanguageModelingTask(
        SmtLanguageModelingConfig(data=None, tokens_per_sample=LENGTH, max_update=UPDATES),
        dictionary,
        dictionary,
        ["future"],
    )
    torch.manual_seed(1)
    model = SmtLanguageModel(SmtLanguageModelConfig(**PRESETS["smt_lm_tiny"]), dictionary).train()
    criterion = SmtCriterion(SmtCriterionConfig(tokens_per_sample=LENGTH, max_update=UPDATES, seed=1), task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.008, betas=(0.9, 0.95), weight_decay=0.01)

    losses = []
    for update in range(UPDATES):
        ids = torch.arange(update * BATCH, (update + 1) * BATCH)
        start, stride = (keyed_uniform(1, 0, 0, ids, 2) * torch.tensor([SYMBOLS, 5])).long().split(1, dim=1)
        text = dictionary.nspecial + (start + stride * torch.arange(LENGTH + 1)) % SYMBOLS
        sample = {
            "id": ids,
            "ntokens": BATCH * LENGTH,
            "net_input": {"src_tokens": text[:, :-1], "src_lengths": torch.full((BATCH,), LENGTH)},
            "target": text[:, 1:],
        }
        model.set_num_updates(update)
        loss, tokens, _ = criterion(model, sample)
        optimizer.zero_grad()
        (loss / tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append((loss / tokens).item())
    return losses


def test_the_curve_of_the_tiny_recipe_has_not_moved():
    recorded = json.loads(RECORD.read_text())
    expected = [float.fromhex(x) for x in recorded["losses"]]
    assert expected[-1] < 0.8 * expected[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = curve()
    finally:
        torch.set_num_threads(threads)
    if recorded["environment"] == environment():
        assert found == expected
    else:
        assert found == pytest.approx(expected, rel=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    record = {"environment": environment(), "losses": [x.hex() for x in curve()]}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {RECORD}: {float.fromhex(record['losses'][0]):.4f} to {float.fromhex(record['losses'][-1]):.4f}")
