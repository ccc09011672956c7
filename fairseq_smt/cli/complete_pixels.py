"""Half-shown images completed by the RNNs of one or several checkpoints, side by side, and their bits per pixel.

    fairseq-smt-complete-pixels DATA --path smt.pt bptt.pt --output completions.png

DATA is a folder of fairseq-smt-prepare-pixels. The RNN reads the rows shown, from its initial memory, and samples the
others pixel by pixel; its state is one memory of fixed size. The picture has a row each for what is shown, for the
truth and for every checkpoint. Bits per pixel by image row are those of the RNN alone, and of the ceiling where a
checkpoint has a teacher. They are printed as Markdown and written as JSON beside the picture.
"""

import argparse
from pathlib import Path
from typing import Any

import fairseq  # noqa: F401
import numpy as np

import fairseq_smt
from fairseq_smt.analysis.figures import image_grid
from fairseq_smt.analysis.loading import Checkpoint, load
from fairseq_smt.analysis.measure import losses_by_position
from fairseq_smt.analysis.samples import completions
from fairseq_smt.cli.flags import add_checkpoint_flags, names_of, quieten
from fairseq_smt.cli.output import check_place, write_json, write_png
from fairseq_smt.data.pixels import PixelFormat
from fairseq_smt.errors import require, require_positive


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
    quieten()
    args = parse()
    fairseq_smt.register()
    require_positive(**{flag: getattr(args, flag) for flag in ("images", "samples", "scored_images", "batch_size")})
    require(args.output.suffix == ".png", f"--output {args.output} must end in .png: the JSON stands beside it.")
    check_place(args.output)
    form = PixelFormat.load(Path(args.data))
    for flag, given in (("--classes", form.classes), ("--permute", form.permutation is not None)):
        require(not given, f"{args.data} was made with {flag}, and images are completed row by row: make it without.")
    rows = form.height // 2 if args.shown_rows is None else args.shown_rows
    require(0 <= rows < form.height, f"--shown-rows must be 0 to {form.height - 1}, not {rows}.")
    rnns, scores = {}, {}
    for path, name in zip(args.path, names_of(args.path, args.names), strict=True):
        checkpoint = load(path, name, args.data, {"sample_break_mode": "eos"}, args.cpu)
        require(not checkpoint.is_probe, f"{path} is of a probe, not of DATA: name another checkpoint by --path.")
        require(
            checkpoint.length == form.pixels,
            f"{path} was trained on blocks of {checkpoint.length} tokens, images of {args.data} have {form.pixels} "
            f"pixels ({form.height} × {form.width}): name a checkpoint of such images by --path, or its own DATA.",
        )
        rnns[name] = checkpoint.model.rnn, checkpoint.task
        scores[name] = score(checkpoint, form, args)
    (batch,) = checkpoint.batches(args.gen_subset, form.pixels, args.images, args.images)
    flags = {"samples": args.samples, "temperature": args.temperature, "seed": args.seed}
    shown = completions(rnns, batch.targets[:, -form.pixels :], form, rows, **flags)
    write_png(args.output, image_grid(shown, rows))
    report = {"data": args.data, "split": args.gen_subset, "checkpoints": scores}
    write_json(args.output.with_suffix(".json"), report)
    print(table(scores))
    print(f"wrote {args.output} and {args.output.with_suffix('.json')}")


if __name__ == "__main__":
    main()
