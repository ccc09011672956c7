"""Helpers for tests of the label cache: the command, tasks and live labels in this process."""

import multiprocessing
import shutil
from pathlib import Path

import fairseq  # noqa: F401
import pytest
import torch

import fairseq_smt
from fairseq_smt.errors import ConfigurationError

fairseq_smt.register()


def cache(data, trained, root, *flags) -> None:
    """Run fairseq-smt-cache-labels on the split valid unless told otherwise."""
    from fairseq_smt.cli.cache_labels import main

    common = [data, "--path", trained / "checkpoint_last.pt", "--label-cache", root, "--cpu", "--no-progress"]
    main([str(x) for x in (*common, "--splits", "valid", *flags)])


def forked(function, *args) -> multiprocessing.Process:
    """A process that has everything imported."""
    process = multiprocessing.get_context("fork").Process(target=function, args=args, daemon=True)
    process.start()
    return process


def make_task(data, root="", split="valid", epoch=1, **options):
    """Task smt_lm with a loaded split."""
    from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig, SmtLanguageModelingTask

    elsewhere = dict(dataset_impl=None, use_plasma_view=False, seed=1, max_update=10)  # from other groups of the config
    options = dict(tokens_per_sample=32, add_bos_token=True) | elsewhere | options
    cfg = SmtLanguageModelingConfig(data=str(data), label_cache=str(root), **options)
    task = SmtLanguageModelingTask.setup_task(cfg)
    task.load_dataset(split, epoch=epoch, combine=split == "train")
    return task


def load_model(trained):
    """The model of a checkpoint."""
    from fairseq import checkpoint_utils

    (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(trained / "checkpoint_last.pt")])
    return model.eval().requires_grad_(False)


def samples(task, split="valid", workers=0, batch=16) -> list[dict]:
    """The batches of an epoch, shuffled."""
    iterator = task.get_batch_iterator(
        task.datasets[split], max_sentences=batch, num_workers=workers, seed=3, disable_iterator_cache=True
    )
    return list(iterator.next_epoch_itr(shuffle=True))


def largest_error(task, model, found: list[dict]) -> float:
    """Largest difference between a batch's labels and the teacher's, where zero at padding is required."""
    worst = 0.0
    for sample in found:
        batch = task.batch_of(sample)
        with torch.no_grad():
            live = model.teacher.labels(batch.inputs, batch.real)
        assert sample["labels"].shape == live.shape and not sample["labels"][~batch.real].any()
        worst = max(worst, float((sample["labels"].float() - live)[batch.real].abs().max()))
    return worst


def refused(sentence: str, run) -> None:
    """Require that `run` ends with a ConfigurationError of one line that holds `sentence`."""
    with pytest.raises(ConfigurationError) as caught:
        run()
    assert sentence in str(caught.value) and "\n" not in str(caught.value), str(caught.value)


def contents(root: Path) -> dict[str, bytes]:
    """Every file under a folder but the locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def copy_of(folder: Path, target: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(folder, target))


def flip(path: Path, byte: int) -> None:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 16
    path.write_bytes(content)


def file_of(root: Path, suffix: str, shard: int = 0) -> Path:
    """The file of a shard of the only split."""
    return next(root.glob(f"*/shard-{shard}-of-*.{suffix}"))
