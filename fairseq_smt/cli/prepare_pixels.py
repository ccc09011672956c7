"""Images as fairseq data: a pixel is a symbol, an image a line.

    fairseq-smt-prepare-pixels --destdir DATA               # scikit-learn's digits, 8 × 8, nothing to fetch
    fairseq-smt-prepare-pixels --destdir DATA --downsample 2 \\
        --images train-images-idx3-ubyte.gz --test-images t10k-images-idx3-ubyte.gz         # MNIST, 14 × 14

Train and score with `--sample-break-mode eos --tokens-per-sample H·W`: one image per block, and every image starts
from the initial memory with the same symbol, fairseq's eos, in front of its first pixel. No image ends in an eos: each
target is a pixel, so that bits per token are bits per pixel.

The splits are cut in the order of the data, the last images for testing, those before them for validation.
"""

import argparse

import numpy as np
import torch

from fairseq_smt.data.fairseq_files import fairseq_files
from fairseq_smt.data.folders import replaced_folder
from fairseq_smt.data.pixels import PixelFormat, pool, quantise, read_idx
from fairseq_smt.errors import ConfigurationError, of_command, require


def digits() -> tuple[np.ndarray, float]:
    """scikit-learn's 1797 digits, (N, 8, 8), and the value of white."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the default images come with scikit-learn, which is not installed: run `pip install scikit-learn`, or "
            "name a file by --images."
        ) from None
    return load_digits().images, 16.0


def load_splits(args: argparse.Namespace) -> tuple[dict[str, np.ndarray], float]:
    """Images (N, H, W) of every split, and the value of white."""
    if args.images:
        images, white = read_idx(args.images), 255.0
    else:
        require(not args.test_images, "--test-images goes with --images: name the training images too.")
        images, white = digits()
    test_share = 0.0 if args.test_images else args.test_share
    for flag, share in (("--valid-share", args.valid_share), ("--test-share", args.test_share)):
        require(share > 0, f"{flag} must be positive, not {share}.")
    require(args.valid_share + test_share < 1, "--valid-share and --test-share leave nothing to train on.")
    b = round(len(images) * (1 - test_share))
    a = round(len(images) * (1 - test_share - args.valid_share))
    splits = {"train": images[:a], "valid": images[a:b], "test": images[b:]}
    if args.test_images:
        splits["test"] = read_idx(args.test_images)
        sizes = [x.shape[1:] for x in (images, splits["test"])]
        require(sizes[0] == sizes[1], f"{args.test_images} has images of another size than {args.images}.")
    for name, part in splits.items():
        require(len(part) > 0, f"the {name} split is empty: give more images, or a larger share.")
    return splits, white


def write(splits: dict[str, np.ndarray], form: PixelFormat, destdir: str) -> None:
    """Write grey levels (N, H, W) as fairseq data; DESTDIR appears only when all is well."""
    dictionary_class, indexed_dataset = fairseq_files()
    dictionary = dictionary_class()
    for symbol in form.symbols():
        dictionary.add_symbol(symbol)
    with replaced_folder(destdir) as folder:
        dictionary.save(str(folder / "dict.txt"))
        form.save(folder)
        for name, levels in splits.items():
            builder = indexed_dataset.MMapIndexedDatasetBuilder(str(folder / f"{name}.bin"), dtype=np.uint16)
            for image in torch.from_numpy(levels + dictionary.nspecial).flatten(1):
                builder.add_item(image)
            builder.finalize(str(folder / f"{name}.idx"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--destdir", required=True, help="folder for the fairseq data; earlier data is replaced")
    parser.add_argument("--images", metavar="FILE", help="IDX file of images, plain or .gz; default: 8 × 8 digits")
    parser.add_argument("--test-images", metavar="FILE", help="IDX file of the test split; else cut from the images")
    parser.add_argument(
        "--downsample", type=int, default=1, help="side of the squares that become one pixel, default 1"
    )
    parser.add_argument("--levels", type=int, default=4, help="grey levels, default 4")
    parser.add_argument("--valid-share", type=float, default=0.1, help="share of the validation split")
    parser.add_argument("--test-share", type=float, default=0.1, help="share of the test split")
    args = parser.parse_args()
    try:
        splits, white = load_splits(args)
        levels = {name: quantise(pool(part, args.downsample), white, args.levels) for name, part in splits.items()}
        form = PixelFormat(*levels["train"].shape[1:], args.levels)
        write(levels, form, args.destdir)
    except ConfigurationError as error:
        raise SystemExit(of_command(error)) from None
    print(", ".join(f"{name}: {len(part)} images" for name, part in levels.items()))
    print(f"wrote {args.destdir}: {form.height} × {form.width} pixels of {form.levels} grey levels")
    print(f"train with --sample-break-mode eos --tokens-per-sample {form.pixels}")


if __name__ == "__main__":
    main()
