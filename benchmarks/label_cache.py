#!/usr/bin/env python3
"""What the label cache saves and costs, as Markdown.

    python benchmarks/label_cache.py --rounds 3

One process times everything, round after round over all cases, so that a slow spell of the machine meets them all;
figures are medians over the rounds. An update of DMT puts its batch together from fairseq's dataset (in this process,
as with --num-workers 0), runs the objective forward and backward, and AdamW. Its labels come from the live teacher,
from the cache, or from a tensor that is there already: "free", what no cache can beat. The teacher's share of an update
is live - free; the cache recovers (live - cached) / (live - free) of it. Time is CPU time on a CPU and synchronised
wall time on a GPU. Peak memory is what a process of its own needs beyond what it had before.
"""

import argparse
import logging
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fairseq  # noqa: F401
import torch
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import make_builder

import fairseq_smt
from fairseq_smt.core.interface import Modules
from fairseq_smt.core.objectives import DaggerMemoryTraining
from fairseq_smt.core.teacher import fingerprint
from fairseq_smt.data.label_cache import codec
from fairseq_smt.errors import ConfigurationError
from report import add_output_flag, emit
from timing import medians, rounds

fairseq_smt.register()
from fairseq_smt.cli.cache_labels import Part, cache_part, describe, plan  # noqa: E402
from fairseq_smt.data.label_cache.dataset import with_labels  # noqa: E402
from fairseq_smt.data.label_cache.manifest import hexadecimal  # noqa: E402
from fairseq_smt.models.presets import PRESETS  # noqa: E402
from fairseq_smt.models.smt_lm import SmtLanguageModel, SmtLanguageModelConfig  # noqa: E402
from fairseq_smt.tasks.smt_lm import SmtLanguageModelingConfig, SmtLanguageModelingTask  # noqa: E402

SYMBOLS = 64


def write_data(folder: Path, tokens: int, line: int = 1000, symbols: int = SYMBOLS) -> None:
    """Random text as fairseq-preprocess would write it."""
    dictionary = Dictionary()
    for i in range(symbols):
        dictionary.add_symbol(f"s{i}")
    folder.mkdir(parents=True, exist_ok=True)
    dictionary.save(str(folder / "dict.txt"))
    builder = make_builder(str(folder / "train.bin"), impl="mmap", vocab_size=len(dictionary))
    generator = torch.Generator().manual_seed(1)
    for _ in range(max(1, tokens // line)):
        builder.add_item(torch.randint(dictionary.nspecial, len(dictionary), (line,), generator=generator))
    builder.finalize(str(folder / "train.idx"))


class Bench:
    """A corpus in blocks, a teacher and its labels in every dtype."""

    def __init__(self, args: argparse.Namespace, folder: Path, tokens: int):
        self.args, self.folder = args, folder
        self.device = torch.device(args.device)
        write_data(folder / "data", tokens)
        elsewhere = dict(dataset_impl=None, use_plasma_view=False, seed=1, max_update=1)
        cfg = SmtLanguageModelingConfig(
            data=str(folder / "data"), tokens_per_sample=args.length, add_bos_token=True, **elsewhere
        )
        self.task = SmtLanguageModelingTask.setup_task(cfg)
        self.model = self.new_model()
        self.teacher = self.model.teacher.eval().requires_grad_(False)

    def new_model(self) -> SmtLanguageModel:
        torch.manual_seed(0)
        return SmtLanguageModel(SmtLanguageModelConfig(**PRESETS[self.args.arch]), self.task.dictionary).to(self.device)

    def part(self) -> Part:
        about = {name: getattr(self.model.rnn.sizes, name) for name in ("memory_tokens", "memory_width")}
        about |= {"teacher": hexadecimal(fingerprint(self.teacher)), "teacher_config": {}}
        return describe(self.task, "train", str(self.folder / "data"), True, about)

    def root(self, dtype: str) -> str:
        return str(self.folder / dtype)

    def cache(self, part: Part, dtype: str) -> None:
        """Cache the whole corpus anew."""
        shutil.rmtree(self.root(dtype), ignore_errors=True)
        flags = argparse.Namespace(dtype=dtype, num_shards=1, shard_id=0, chunk_positions=65536)
        cache_part(self.teacher, part, plan(part, flags), self.root(dtype), 8192, progress=False)

    def labelled(self, part: Part, dtype: str):
        fingerprint_ = self.task.dictionary_fingerprint
        data = str(self.folder / "data")
        return with_labels(self.root(dtype), part.dataset, self.task.args, fingerprint_, data, "train", True)

    def update(self, dataset, labels: torch.Tensor | None, live: bool) -> Callable[[], None]:
        """One update of DMT on batches of `dataset`; its labels are replaced by `labels` where given."""
        rnn, objective = self.new_model().rnn, DaggerMemoryTraining(horizon=self.args.length)
        modules = Modules(rnn, self.teacher if live else None)
        optimizer = torch.optim.AdamW(rnn.parameters(), lr=1e-4)
        order = torch.randperm(len(dataset) - 1, generator=torch.Generator().manual_seed(1)).tolist()
        number = [0]

        def run() -> None:
            first = number[0] * self.args.batch % max(1, len(order) - self.args.batch)
            number[0] += 1
            sample = dataset.collater([dataset[i] for i in order[first : first + self.args.batch]])
            net_input = {name: x.to(self.device) for name, x in sample["net_input"].items()}
            sample |= {"net_input": net_input, "target": sample["target"].to(self.device)}
            if labels is not None:
                sample["labels"] = labels
            elif "labels" in sample:
                sample["labels"] = sample["labels"].to(self.device)
            optimizer.zero_grad()
            objective(modules, self.task.batch_of(sample), update=number[0]).loss.backward()
            optimizer.step()

        return run


def status(what: str) -> float:
    """MiB of this process now (VmRSS) or at most so far (VmHWM)."""
    return int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0]) / 1024


def peak(args: argparse.Namespace, what: str, tokens: int) -> float:
    """Peak MiB of caching a corpus, or of reading all its labels in batches, in this process."""
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        bench = Bench(args, Path(folder), tokens)
        part = bench.part()
        if what == "caching":
            bench.cache(part, "float16")  # allocators and libraries are warm before the measurement
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from now
            before = status("VmRSS")
            bench.cache(part, "float16")
        else:
            bench.cache(part, "float16")
            dataset = bench.labelled(part, "float16")
            Path("/proc/self/clear_refs").write_text("5")
            before = status("VmRSS")
            for first in range(0, len(dataset), args.batch):
                dataset.collater([dataset[i] for i in range(first, min(len(dataset), first + args.batch))])
        return status("VmHWM") - before


def peak_of(what: str, tokens: int) -> float:
    """`peak` in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--peak", what, str(tokens)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def report(args: argparse.Namespace, folder: Path) -> str:
    """All measurements as Markdown."""
    bench = Bench(args, folder, args.tokens)
    part = bench.part()
    number = int(part.offsets[-1])
    for dtype in codec.STORED:
        bench.cache(part, dtype)
    sample = bench.labelled(part, "float32").collater([part.dataset[i] for i in range(args.batch)])
    updates = {"live": bench.update(part.dataset, None, live=True)}
    updates |= {dtype: bench.update(bench.labelled(part, dtype), None, live=False) for dtype in codec.STORED}
    updates["free"] = bench.update(part.dataset, sample["labels"].to(bench.device), live=False)
    caching = {f"caching {dtype}": partial(bench.cache, part, dtype) for dtype in codec.STORED}
    took = medians(rounds(updates | caching, bench.device, args.rounds, args.seconds, "updates and caching"))
    update = {name: took[name] for name in updates}
    live, share = update["live"], update["live"] - update["free"]
    unit = "second" if args.device == "cuda" else "CPU-second"
    names = {"live": "live teacher", "free": "given for free"}
    width = part.here["memory_tokens"] * part.here["memory_width"]
    positions = number / (number - len(part.dataset))  # a bos makes labels more than tokens
    lines = [
        "# What the label cache saves and costs",
        "",
        f"`python {' '.join(sys.argv)}`: DMT of `{args.arch}` on blocks of {args.length} symbols and a bos, batch "
        f"{args.batch}, {number:,} labels of {width} numbers; medians of {args.rounds} interleaved rounds in one run; "
        f"{args.threads} thread(s), torch {torch.__version__}, Python {platform.python_version()}, {args.device}.",
        "",
        f"| labels | updates per {unit} | ms per update | share of the teacher's time recovered |",
        "|---|---|---|---|",
        *(
            f"| {names.get(name, f'cache, {name}')} | {1 / s:.1f} | {1000 * s:.2f} "
            f"| {'' if name in names else f'{(live - s) / share:.0%}'} |"
            for name, s in update.items()
        ),
        "",
        f"The teacher's share of an update is {share / live:.0%}.",
        "",
        f"| caching | labels per {unit} | MB per million tokens |",
        "|---|---|---|",
        *(
            f"| {dtype} | {number / took[f'caching {dtype}']:,.0f} "
            f"| {positions * codec.position_bytes(dtype, width):,.0f} |"
            for dtype in codec.STORED
        ),
        "",
    ]
    sizes = (args.tokens, 4 * args.tokens)
    lines += [
        f"| peak memory, float16 | {' | '.join(f'{size:,} tokens' for size in sizes)} |",
        "|---|---|---|",
        *(
            f"| {what} | {' | '.join(f'{peak_of(what, size):,.0f} MiB' for size in sizes)} |"
            for what in ("caching", "reading all labels in batches")
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=sorted(PRESETS), default="smt_lm_small")
    parser.add_argument("--length", type=int, default=128, help="T")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=200_000, help="size of the corpus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of one measurement of updates")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--folder", type=Path, help="where the caches go while it runs; a temporary folder unless given"
    )
    add_output_flag(parser)
    parser.add_argument("--peak", nargs=2, metavar=("WHAT", "TOKENS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU: there is none")
    if min(args.length, args.batch, args.rounds, args.threads) < 1 or args.tokens < 2 * args.batch * args.length:
        parser.error("--length, --batch, --rounds and --threads must be positive, --tokens at least two batches")
    torch.set_num_threads(args.threads)
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    try:
        if args.peak:
            print(peak(args, args.peak[0], int(args.peak[1])))
            return
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            text = report(args, Path(folder))
    except ConfigurationError as error:
        parser.error(str(error))
    emit(text, args.output)


if __name__ == "__main__":
    main()
