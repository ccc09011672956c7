"""What an update costs in fairseq-train, beside a bare loop over the same batches."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from fairseq.data import Dictionary

from cost import Sizes
from fairseq_smt.core.interface import Batch
from label_cache import write_data
from report import table
from runs import Runs
from speed_inference import SmtLanguageModelingConfig, SmtLanguageModelingTask
from updates import modules_of, objective_of, trained_by

ROWS, LENGTH = 16, 128


def batches(data: Path) -> Iterator[Batch]:
    """What fairseq-train sees: the same blocks in the same order, collated as it goes along."""
    elsewhere = dict(dataset_impl=None, use_plasma_view=False, seed=1, max_update=1)
    cfg = SmtLanguageModelingConfig(data=str(data), tokens_per_sample=LENGTH, add_bos_token=True, **elsewhere)
    task = SmtLanguageModelingTask.setup_task(cfg)
    task.load_dataset("train")
    iterator = task.get_batch_iterator(task.dataset("train"), max_sentences=ROWS, seed=1, num_workers=0)
    while True:
        yield from map(task.batch_of, iterator.next_epoch_itr(shuffle=True))


def bare(device: torch.device, data: Path, sizes: Sizes, short: int, long: int) -> float:
    """Seconds of an update of SMT after the first `short` in a loop: batch, objective, backward, clipping, AdamW."""
    modules, objective = modules_of(sizes, device), objective_of("SMT", LENGTH)
    parameters = trained_by("SMT", modules)
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for number, batch in zip(range(long), batches(data), strict=False):
        if number == short:
            started = clock()
        moved = {name: x.to(device) for name, x in vars(batch).items() if x is not None}
        optimizer.zero_grad()
        objective(modules, Batch(**moved), update=number).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return (clock() - started) / (long - short)


def part(args: argparse.Namespace, sizes: Sizes) -> tuple[list[str], list[str]]:
    """The summary's row, and the section."""
    flags = f"--task smt_lm --arch smt_lm_small --criterion smt --tokens-per-sample {LENGTH} --add-bos-token"
    flags += f" --batch-size {ROWS} --optimizer adam --clip-norm 1 --lr 0.0001 --num-workers 0 --seed 1"
    device, (short, long) = torch.device(args.device), (20, 60) if args.quick else (100, 300)
    times: dict[str, list[float]] = {"fairseq-train": [], "bare loop": []}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_data(data, tokens=200_000, symbols=sizes.vocabulary - Dictionary().nspecial)
        for kind in ("bin", "idx"):  # a validation tells the time
            (data / f"valid.{kind}").symlink_to(data / f"train.{kind}")
        runs = Runs(Path(folder), [str(data)], flags, gpu=device.type == "cuda")
        for round_ in range(args.rounds):
            times["fairseq-train"].append(runs.seconds_per_update(str(round_), "", short, long, limit=3600))
            times["bare loop"].append(bare(device, data, sizes, short, long))
    found = {name: statistics.median(values) for name, values in times.items()}
    lines = [
        "## fairseq-train over a bare loop",
        "",
        f"SMT of `smt_lm_small`, B = {ROWS}, T = {LENGTH} and a bos, the same batches, clipping included. "
        f"fairseq-train: updates {short + 1} to {long} of a run as it logs their cost, with an Adam, logs "
        "and checks of its own.",
        "",
        *table(["", "ms per update"], [[name, f"{1000 * seconds:.1f}"] for name, seconds in found.items()]),
    ]
    return [f"fairseq-train over a bare loop: {found['fairseq-train'] / found['bare loop']:.2f}"], lines
