"""Half-shown images completed by the RNNs of one or several checkpoints, side by side, and their bits per pixel.

    fairseq-smt-complete-pixels DATA --path smt.pt bptt.pt --output completions.png

DATA is a folder of fairseq-smt-prepare-pixels. The RNN reads the rows shown, from its initial memory, and samples the
others pixel by pixel; its state is one memory of fixed size. The picture has a row each for what is shown, for the
truth and for every checkpoint. Bits per pixel by image row, of the RNN alone and of the ceiling where a checkpoint
has a teacher, are printed as Markdown and written as JSON beside the picture.
"""

import argparse
from pathlib import Path
from typing import Any

import fairseq  # noqa: F401
import numpy as np
import torch
from torch import Tensor

import fairseq_smt
from fairseq_smt.cli.figures import image_grid
from fairseq_smt.cli.loading import Checkpoint, add_checkpoint_flags, load, names_of, quieten
from fairseq_smt.cli.measure import losses_by_position
from fairseq_smt.cli.output import write_json, write_png
from fairseq_smt.data.pixels import PixelFormat
from fairseq_smt.errors import require, require_positive


def grey_levels(tokens: Tensor, form: PixelFormat, first: int) -> np.ndarray:
    """Tokens (N, H·W) as grey values in [0, 1], (N, H, W); `first` is the token of black."""
    levels = (tokens - first).double() / (form.levels - 1)
    return levels.view(-1, form.height, form.width).cpu().numpy()


def complete(checkpoint: Checkpoint, images: Tensor, shown: int, first: int, args: argparse.Namespace) -> list[Tensor]:
    """Complete images of which the first `shown` pixels are given.

    Args:
        images: tokens (N, H·W).
        first: token of black; those of the other grey levels follow.

    Returns:
        `--samples` times the images, (N, H·W).
    """
    dictionary = checkpoint.task.source_dictionary
    bos = [dictionary.bos()] * bool(checkpoint.cfg.task.add_bos_token)
    start = torch.tensor([*bos, dictionary.eos()], device=images.device).expand(len(images), -1)
    prompt = torch.cat((start, images[:, :shown]), dim=1)
    allowed = torch.arange(len(dictionary), device=images.device) >= first
    generator = torch.Generator(images.device).manual_seed(args.seed)
    drawn = []
    for _ in range(args.samples):
        rest = checkpoint.model.rnn.generate(
            prompt, images.shape[1] - shown, temperature=args.temperature, allowed=allowed, generator=generator
        )
        drawn.append(torch.cat((images[:, :shown], rest), dim=1))
    return drawn


def score(checkpoint: Checkpoint, form: PixelFormat, args: argparse.Namespace) -> dict[str, Any]:
    """Bits per pixel, over the image and by image row, of the RNN and of the ceiling."""
    sums = losses_by_position(checkpoint, args.gen_subset, form.pixels, args.scored_images, args.batch_size)
    targets = np.asarray(sums.pop("targets"))[-form.pixels :]
    found: dict[str, Any] = {"images": int(targets[0])}
    for who, total in sums.items():
        bits = np.asarray(total)[-form.pixels :] / targets
        found[f"{who}_bits_per_pixel"] = float(bits.mean())
        found[f"{who}_bits_by_row"] = bits.reshape(form.height, form.width).mean(1).tolist()
    return found


def table(scores: dict[str, dict[str, Any]]) -> str:
    """Markdown: a line per image row, a column per model."""
    columns = {
        f"{name}, {'RNN' if who == 'rnn' else who}": [*found[f"{who}_bits_by_row"], found[f"{who}_bits_per_pixel"]]
        for name, found in scores.items()
        for who in ("rnn", "ceiling")
        if f"{who}_bits_by_row" in found
    }
    lines = [f"| bits per pixel in row | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    height = len(next(iter(columns.values()))) - 1
    for i, title in enumerate([*range(1, height + 1), "all"]):
        lines.append(f"| {title} | {' | '.join(f'{values[i]:.3f}' for values in columns.values())} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="folder written by fairseq-smt-prepare-pixels")
    add_checkpoint_flags(parser)
    parser.add_argument("--output", type=Path, default="completions.png", metavar="PNG", help="default completions.png")
    parser.add_argument("--shown-rows", type=int, metavar="N", help="image rows that the RNN is given; default: half")
    parser.add_argument("--images", type=int, default=10, help="images to complete, spread over the split; default 10")
    parser.add_argument("--samples", type=int, default=1, help="completions of each by every checkpoint; default 1")
    parser.add_argument("--temperature", type=float, default=1.0, help="of the sampling; 0: the most likely pixel")
    parser.add_argument("--seed", type=int, default=1, help="of the sampling; default 1")
    parser.add_argument("--scored-images", type=int, default=500, help="images for bits per pixel; default 500")
    parser.add_argument("--batch-size", type=int, default=100, help="images scored at a time; default 100")
    return parser.parse_args()


def main() -> None:
    args = parse()
    quieten()
    fairseq_smt.register()
    require_positive(**{flag: getattr(args, flag) for flag in ("images", "samples", "scored_images", "batch_size")})
    require(args.output.suffix == ".png", f"--output {args.output} must end in .png: the JSON stands beside it.")
    form = PixelFormat.load(Path(args.data))
    for flag, given in (("--classes", form.classes), ("--permute", form.permutation is not None)):
        require(not given, f"{args.data} was made with {flag}, and images are completed row by row: make it without.")
    rows = form.height // 2 if args.shown_rows is None else args.shown_rows
    require(0 <= rows < form.height, f"--shown-rows must be 0 to {form.height - 1}, not {rows}.")
    pictures, scores = {}, {}
    for path, name in zip(args.path, names_of(args.path, args.names), strict=True):
        checkpoint = load(path, name, args.data, {"sample_break_mode": "eos"}, args.cpu)
        require(not checkpoint.is_probe, f"{path} is of a probe, not of DATA: name another checkpoint by --path.")
        require(
            checkpoint.length == form.pixels,
            f"{path} was trained on blocks of {checkpoint.length} tokens, images of {args.data} have {form.pixels} "
            f"pixels ({form.height} × {form.width}): name a checkpoint of such images by --path, or its own DATA.",
        )
        first = checkpoint.task.source_dictionary.index("0")
        (batch,) = checkpoint.batches(args.gen_subset, form.pixels, args.images, args.images)
        images = batch.targets[:, -form.pixels :]
        drawn = complete(checkpoint, images, rows * form.width, first, args)
        pictures |= {
            name if args.samples == 1 else f"{name} {i}": grey_levels(x, form, first) for i, x in enumerate(drawn, 1)
        }
        scores[name] = score(checkpoint, form, args)
    truth = grey_levels(images, form, first)
    shown = np.where(np.arange(form.height)[:, None] < rows, truth, np.nan)
    write_png(args.output, image_grid({"shown": shown, "truth": truth} | pictures, rows))
    report = {"data": args.data, "split": args.gen_subset, "checkpoints": scores}
    write_json(args.output.with_suffix(".json"), report)
    print(table(scores))
    print(f"wrote {args.output} and {args.output.with_suffix('.json')}")


if __name__ == "__main__":
    main()
