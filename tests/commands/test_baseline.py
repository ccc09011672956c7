"""BPTT by fairseq's `cross_entropy`: the same numbers as our criterions', under the same names."""

import pytest
import torch
from fairseq.logging import metrics

from tests.support.one_step import stage

ALONE = ["--memory-head", "none"]
BPTT = ["--criterion", "cross_entropy", *ALONE]


def validated(data, *flags, weights=None) -> dict[str, float]:
    """What two batches of validation log."""
    model, criterion, sample = stage(data, *flags)
    if weights is not None:
        model.load_state_dict(weights)
    task = criterion.task
    criterion.eval()
    batches = task.get_batch_iterator(task.dataset("valid"), max_sentences=4).next_epoch_itr(shuffle=False)
    with metrics.aggregate(new_root=True) as logged:
        for _, sample in zip(range(2), batches, strict=False):
            log = task.valid_step(sample, model, criterion)[2]
            assert log["rnn_nll_count"] == log["ntokens"] - log["nsentences"]  # without the target of the bos
            task.reduce_metrics([log], criterion)
    return logged.get_smoothed_values() | {"weights": model.state_dict()}


@pytest.mark.parametrize("flags", [["--criterion", "smt"], ["--criterion", "chunked_bptt", *ALONE]], ids=lambda f: f[1])
def test_validation_logs_what_our_criterions_do_of_the_same_checkpoint(data, flags):
    ours = validated(data, *flags)
    bptt = validated(data, *BPTT, weights=ours["weights"])
    for name in ("rnn_nll", "rnn_ppl", "rnn_bpb", "rnn_accuracy"):
        assert bptt[name] == pytest.approx(ours[name], abs=2e-3), name


@pytest.mark.parametrize("update", [0, 3])
def test_one_chunk_per_block_is_fairseqs_cross_entropy(data, update):
    """Loss and gradients, with a bos in front of the 32 tokens of --tokens-per-sample."""
    found = []
    for flags in (BPTT, ["--criterion", "chunked_bptt", "--chunk", 32, *ALONE]):
        model, criterion, sample = stage(data, *flags)
        if found:
            model.load_state_dict(found[0][2])
        model.set_num_updates(update)
        loss, size, _ = criterion(model.train(), sample)
        loss.backward()
        assert sample["net_input"]["src_tokens"].shape[1] == 33
        found.append((loss / size, [p.grad / size for p in model.parameters()], model.state_dict()))
    for bptt, chunked in zip(*(entry[:2] for entry in found), strict=True):
        torch.testing.assert_close(chunked, bptt, atol=1e-6, rtol=1e-4)
