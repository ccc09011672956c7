"""fairseq-smt-cache-labels: the labels of a frozen teacher, for every source position of a data folder, on disk.

    fairseq-smt-cache-labels DATA --path CHECKPOINT --label-cache DIR

Killed, the same command goes on where it was. Several processes or machines share the work by --num-shards and
--shard-id. --verify compares everything with its checksums instead, every byte of DATA's splits too.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import fairseq  # noqa: F401
import numpy as np
import torch
from fairseq import checkpoint_utils, utils
from fairseq.data import MonolingualDataset
from tqdm import tqdm

import fairseq_smt
from fairseq_smt.analysis.loading import choose_device, of_this_model, read
from fairseq_smt.cli.flags import given, quieten
from fairseq_smt.cli.output import check_place
from fairseq_smt.core.configs import TeacherConfig
from fairseq_smt.core.fingerprints import unpack
from fairseq_smt.core.teacher import fingerprint
from fairseq_smt.data.label_cache import codec
from fairseq_smt.data.label_cache.dataset import block_offsets, identity
from fairseq_smt.data.label_cache.files import ShardFiles, part_folder, written
from fairseq_smt.data.label_cache.fingerprint import data_files, full_fingerprint
from fairseq_smt.data.label_cache.manifest import Manifest, blocks_per_chunk, hexadecimal, shard_blocks
from fairseq_smt.data.label_cache.reader import LabelCache
from fairseq_smt.data.label_cache.writer import ShardWriter
from fairseq_smt.errors import require, require_positive

logger = logging.getLogger("fairseq_smt.cli.cache_labels")

TEACHER_FLAGS = ("memory_tokens", "memory_width", *(f.name for f in fields(TeacherConfig)))
BLOCK_FLAGS = ("tokens_per_sample", "sample_break_mode", "add_bos_token", "shorten_method", "shorten_data_split_list")


@dataclass
class Part:
    """One split of one data folder."""

    name: str
    dataset: MonolingualDataset
    offsets: np.ndarray
    here: dict[str, Any]
    """What its labels depend on, by the manifest's fields."""


def main(argv: list[str] | None = None) -> None:
    """Run the command.

    Raises:
        ConfigurationError: for whatever the user can put right.
    """
    quieten()
    args = parser().parse_args(argv)
    fairseq_smt.register()
    codec.check_dtype(args.dtype)
    require_positive(num_shards=args.num_shards)
    require(
        0 <= args.shard_id < args.num_shards,
        f"--shard-id must be 0 to {args.num_shards - 1} with --num-shards {args.num_shards}, not {args.shard_id}.",
    )
    require_positive(max_tokens=args.max_tokens, chunk_positions=args.chunk_positions)
    if not args.verify:
        check_place(Path(args.label_cache, "labels"), f"--label-cache {args.label_cache}")
    teacher, about_teacher, task = load_teacher(args)
    parts = [
        describe(task, split, folder, combine, about_teacher)
        for split in dict.fromkeys(args.splits.split(","))
        for folder, combine in folders(args.data, split)
    ]
    if args.verify:
        verify(args.label_cache, parts, progress=not args.no_progress)
        return
    device = choose_device(args.cpu)
    plans = [plan(part, args) for part in parts]
    check_space(args.label_cache, plans)
    teacher.to(device)
    for part, manifest in zip(parts, plans, strict=True):
        cache_part(teacher, part, manifest, args.label_cache, args.max_tokens, progress=not args.no_progress)


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", metavar="DATA", help="folder written by fairseq-preprocess, or several as a:b")
    p.add_argument("--path", required=True, metavar="CHECKPOINT", help="checkpoint of criterion smt: the teacher")
    p.add_argument("--label-cache", required=True, metavar="DIR", help="where the labels go; made when absent")
    p.add_argument("--splits", default="train,valid", help="comma-separated; default train,valid")
    p.add_argument("--dtype", default="float16", help=f"{', '.join(codec.STORED)}; default float16")
    p.add_argument("--num-shards", type=int, default=1, help="processes or machines that share the work")
    p.add_argument("--shard-id", type=int, default=0, help="which of them this one is, from 0")
    p.add_argument("--verify", action="store_true", help="write nothing; compare data and labels with all checksums")
    p.add_argument("--cpu", action="store_true", help="do not use CUDA")
    p.add_argument("--max-tokens", type=int, default=8192, help="positions labelled at once, at least one block")
    p.add_argument("--chunk-positions", type=int, default=65536, help="positions after which progress is kept")
    p.add_argument("--no-progress", action="store_true", help="no progress bar")
    blocks = p.add_argument_group("blocks", "default: those of the checkpoint")
    blocks.add_argument("--tokens-per-sample", type=int)
    blocks.add_argument("--sample-break-mode", choices=["none", "complete", "complete_doc", "eos"])
    blocks.add_argument("--add-bos-token", action=argparse.BooleanOptionalAction)
    blocks.add_argument("--shorten-method", choices=["none", "truncate", "random_crop"])
    blocks.add_argument("--shorten-data-split-list")
    return p


def load_teacher(args: argparse.Namespace) -> tuple[torch.nn.Module, dict[str, Any], Any]:
    """The teacher in float32, what the manifest says of it, and the checkpoint's task on DATA."""
    require(Path(args.path).is_file(), f"the checkpoint {args.path} does not exist: name one by --path.")
    state = read(args.path, args.data, given(args, BLOCK_FLAGS))
    cfg = state["cfg"]
    require(
        of_this_model(cfg) and cfg.task._name == "smt_lm",
        f"{args.path} is not a checkpoint of model and task smt_lm: labels are cached for those only.",
    )
    require(
        any(name.startswith("teacher.") for name in state["model"]),
        f"{args.path} holds no teacher: name a checkpoint of criterion smt by --path.",
    )
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task([args.path], state=state)
    model = models[0]
    noted, found = unpack(model.teacher_fingerprint), fingerprint(model.teacher)
    require(bool(noted), f"the teacher in {args.path} was never trained: name a checkpoint of criterion smt by --path.")
    require(
        noted == found,
        f"the teacher in {args.path} is not the one that criterion smt left there ({found:016x}, not {noted:016x}): "
        "name the checkpoint as fairseq-train wrote it.",
    )
    about = {
        "teacher": hexadecimal(found),
        "teacher_config": {flag: _plain(cfg.model[flag]) for flag in TEACHER_FLAGS},
        "memory_tokens": int(cfg.model.memory_tokens),
        "memory_width": int(cfg.model.memory_width),
    }
    return model.teacher.float().eval().requires_grad_(False), about, task


def folders(data: str, split: str) -> list[tuple[str, bool]]:
    """Data folders that training reads a split from, and whether it appends train1, train2, …"""
    paths = utils.split_paths(data)
    return [(path, True) for path in paths] if split.startswith("train") else [(paths[0], False)]


def describe(task, split: str, folder: str, combine: bool, about_teacher: dict[str, Any]) -> Part:
    """Cut a split into blocks as training will."""
    epoch = utils.split_paths(task.args.data).index(folder) + 1
    task.load_dataset(split, epoch=epoch, combine=combine)
    dataset = task.datasets[split]
    prefixes = data_files(folder, split, combine)
    here = identity(task.args, task.dictionary_fingerprint, dataset, split, prefixes)
    here |= about_teacher | {"data_full": full_fingerprint(prefixes)}
    return Part(f"{split} of {folder}", dataset, block_offsets(dataset), here)


def plan(part: Part, args: argparse.Namespace) -> Manifest:
    """The manifest of this process's shard."""
    first, last = shard_blocks(len(part.dataset), args.shard_id, args.num_shards)
    return Manifest(
        **part.here,
        dtype=args.dtype,
        shard=args.shard_id,
        shards=args.num_shards,
        first_block=first,
        last_block=last,
        positions=int(part.offsets[last] - part.offsets[first]),
        chunk_blocks=blocks_per_chunk(part.offsets, args.chunk_positions),
    )


def check_space(root: str, plans: list[Manifest]) -> None:
    """Say how large the shards will be, and refuse to begin what does not fit on the disk."""
    needed = 0
    for manifest in plans:
        size = manifest.positions * codec.position_bytes(manifest.dtype, manifest.width)
        logger.info(
            f"{manifest.split}: shard {manifest.shard} of {manifest.shards} has {manifest.positions} labels of "
            f"{manifest.memory_tokens} × {manifest.memory_width} {manifest.dtype} numbers, {_size(size)}"
        )
        needed += size - written_bytes(root, manifest)
    with written(Path(root)):
        Path(root).mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
    logger.info(f"{_size(needed)} to write under {root}, {_size(free)} free")
    require(
        needed <= free,
        f"the labels need {_size(needed)}, the disk of {root} has {_size(free)} free: free some space, name another "
        "--label-cache, or choose a smaller --dtype.",
    )


def written_bytes(root: str, manifest: Manifest) -> int:
    """Bytes that an earlier run has put on the disk already; blocks of the file that were never written take none."""
    files = ShardFiles(part_folder(root, manifest.split, manifest.data), manifest.shard, manifest.shards)
    return min(
        sum(path.stat().st_blocks * 512 for path in (files.labels, files.scales) if path.is_file()),
        manifest.positions * codec.position_bytes(manifest.dtype, manifest.width),
    )


def cache_part(teacher, part: Part, manifest: Manifest, root: str, max_tokens: int, progress: bool) -> None:
    """Write one shard of one split."""
    folder = part_folder(root, manifest.split, manifest.data)
    offsets = part.offsets[manifest.first_block : manifest.last_block + 1]
    offsets = offsets - offsets[0]
    with ShardWriter(folder, manifest, offsets) as writer:
        manifest, pending = writer.manifest, writer.pending()
        left = sum(int(offsets[last] - offsets[first]) for first, last in map(manifest.chunk, pending))
        if manifest.complete:
            logger.info(f"{part.name}: shard {manifest.shard} of {manifest.shards} is there already")
        bar = dict(total=manifest.positions, initial=manifest.positions - left, unit="label", unit_scale=True)
        with tqdm(**bar, desc=manifest.split, file=sys.stderr, disable=not progress or not pending) as bar:
            for chunk in pending:
                blocks = range(*(manifest.first_block + block for block in manifest.chunk(chunk)))
                writer.write(chunk, _counted(label_blocks(teacher, part.dataset, blocks, max_tokens), bar))
        writer.finish()
    if pending:
        logger.info(f"{part.name}: {manifest.positions} labels in {folder}")


@torch.no_grad()
def label_blocks(teacher, dataset, blocks: range, max_tokens: int) -> Iterator[np.ndarray]:
    """The labels of consecutive blocks, as rows (n, K·d) float32, from batches of at most `max_tokens` positions.

    Raises:
        ConfigurationError: for a label that is not finite.
    """
    device = next(teacher.parameters()).device
    for batch in batches(dataset, blocks, max_tokens):
        lengths = torch.tensor([len(source) for source in batch])
        tokens = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=dataset.vocab.pad())
        real = torch.arange(tokens.shape[1]) < lengths[:, None]
        labels = teacher.labels(tokens.to(device), real.to(device)).flatten(2)
        rows = labels[real.to(device)].float().cpu().numpy()
        require(
            bool(np.isfinite(rows).all()),
            "the teacher's labels are not finite: its training has diverged, name an earlier checkpoint by --path.",
        )
        yield rows


def batches(dataset, blocks: range, max_tokens: int) -> Iterator[list[torch.Tensor]]:
    """Sources of consecutive blocks, so many that they hold `max_tokens` positions once padded."""
    batch: list[torch.Tensor] = []
    longest = 0
    for block in blocks:
        source = dataset[block]["source"]
        longest = max(longest, len(source))
        if batch and longest * (len(batch) + 1) > max_tokens:
            yield batch
            batch, longest = [], len(source)
        batch.append(source)
    if batch:
        yield batch


def verify(root: str, parts: list[Part], progress: bool) -> None:
    """Compare teacher, data and every label with the manifests."""
    for part in parts:
        cache = LabelCache(root, part.here, part.offsets)
        bar = dict(total=int(part.offsets[-1]), unit="label", unit_scale=True, desc="verify")
        with tqdm(**bar, file=sys.stderr, disable=not progress) as bar:
            cache.verify(bar.update)
        logger.info(f"{part.name}: {len(cache.manifests)} shards, {part.offsets[-1]} labels are as they were written")


def _counted(parts: Iterator[np.ndarray], bar: tqdm) -> Iterator[np.ndarray]:
    for rows in parts:
        yield rows
        bar.update(len(rows))


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float)) else str(getattr(value, "value", value))


def _size(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"


if __name__ == "__main__":
    main()
