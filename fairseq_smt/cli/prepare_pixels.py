"""Images as fairseq data: a pixel is a symbol, an image a line.

    fairseq-smt-prepare-pixels --destdir DATA               # scikit-learn's digits, 8 × 8, nothing to fetch
    fairseq-smt-prepare-pixels --destdir DATA --downsample 2 \\
        --images train-images-idx3-ubyte.gz --test-images t10k-images-idx3-ubyte.gz         # MNIST, 14 × 14

Train and score with `--sample-break-mode eos --tokens-per-sample H·W`: one image per block, and every image starts
from the initial memory with the same symbol, fairseq's eos, in front of its first pixel. No image ends in an eos: each
target is a pixel, so that bits per token are bits per pixel.

With --classes the class of an image follows its pixels as one more symbol, which `--ask last` makes the only target.

The splits are cut in the order of the data, the last images for testing, those before them for validation.
"""

import argparse
from dataclasses import dataclass

import numpy as np
import torch

from fairseq_smt.data.fairseq_files import fairseq_files
from fairseq_smt.data.folders import replaced_folder
from fairseq_smt.data.pixels import PixelFormat, pool, quantise, read_idx
from fairseq_smt.errors import ConfigurationError, require
from fairseq_smt.terminal import command


@dataclass
class Images:
    """Images (N, H, W), the value of white in them, and their labels (N,), which not all have."""

    pixels: np.ndarray
    white: float
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, part: slice) -> "Images":
        return Images(self.pixels[part], self.white, None if self.labels is None else self.labels[part])


def digits(labelled: bool) -> Images:
    """scikit-learn's 1797 digits, 8 × 8."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the default images come with scikit-learn, which is not installed: run `pip install scikit-learn`, or "
            "name a file by --images."
        ) from None
    found = load_digits()
    return Images(found.images, 16.0, found.target if labelled else None)


def read(images: str, labels: str | None) -> Images:
    """IDX files of images and of their labels, if there is one."""
    found = Images(read_idx(images), 255.0)
    if labels:
        found.labels = read_idx(labels, "labels")
        require(
            len(found.labels) == len(found),
            f"{labels} has {len(found.labels)} labels for the {len(found)} images of {images}: name the two that go "
            "together.",
        )
    return found


def check_files(args: argparse.Namespace) -> None:
    """Refuse flags that do not name the same sources."""
    require(args.images or not args.test_images, "--test-images goes with --images: name the training images too.")
    for flag, images in (("--labels", args.images), ("--test-labels", args.test_images)):
        named = getattr(args, flag[2:].replace("-", "_"))
        source = flag.replace("labels", "images")
        require(args.classes or not named, f"{flag} goes with --classes: add it, or remove {flag}.")
        require(images or not named, f"{flag} goes with {source}: name the images too.")
        require(named or not args.classes or not images, f"--classes needs the labels of {images}: add {flag}.")


def load_splits(args: argparse.Namespace) -> dict[str, Images]:
    """The images of every split."""
    check_files(args)
    images = read(args.images, args.labels) if args.images else digits(args.classes)
    test_share = 0.0 if args.test_images else args.test_share
    for flag, share in (("--valid-share", args.valid_share), ("--test-share", args.test_share)):
        require(share > 0, f"{flag} must be positive, not {share}.")
    require(args.valid_share + test_share < 1, "--valid-share and --test-share leave nothing to train on.")
    b = round(len(images) * (1 - test_share))
    a = round(len(images) * (1 - test_share - args.valid_share))
    splits = {"train": images[:a], "valid": images[a:b], "test": images[b:]}
    if args.test_images:
        splits["test"] = read(args.test_images, args.test_labels)
        sizes = [x.pixels.shape[1:] for x in (images, splits["test"])]
        require(sizes[0] == sizes[1], f"{args.test_images} has images of another size than {args.images}.")
    for name, part in splits.items():
        require(len(part) > 0, f"the {name} split is empty: give more images, or a larger share.")
    require(
        not args.test_images or not np.array_equal(images.pixels, splits["test"].pixels),
        f"{args.test_images} of --test-images holds the images of --images, which would be in train and test: name "
        "another file, or remove --test-images.",
    )
    return splits


def write(splits: dict[str, np.ndarray], form: PixelFormat, destdir: str) -> None:
    """Write items (N, length) as fairseq data; DESTDIR appears only when all is well."""
    dictionary_class, indexed_dataset = fairseq_files()
    dictionary = dictionary_class()
    for symbol in form.symbols():
        dictionary.add_symbol(symbol)
    with replaced_folder(destdir) as folder:
        dictionary.save(str(folder / "dict.txt"))
        form.save(folder)
        for name, items in splits.items():
            builder = indexed_dataset.MMapIndexedDatasetBuilder(str(folder / f"{name}.bin"), dtype=np.uint16)
            for item in torch.from_numpy(items + dictionary.nspecial):
                builder.add_item(item)
            builder.finalize(str(folder / f"{name}.idx"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--destdir", required=True, help="folder for the fairseq data; earlier data is replaced")
    parser.add_argument("--images", metavar="FILE", help="IDX file of images, plain or .gz; default: 8 × 8 digits")
    parser.add_argument("--test-images", metavar="FILE", help="IDX file of the test split; else cut from the images")
    parser.add_argument("--classes", action="store_true", help="write the class of an image after its pixels")
    parser.add_argument("--labels", metavar="FILE", help="with --classes, IDX file of the labels of --images")
    parser.add_argument("--test-labels", metavar="FILE", help="with --classes, IDX file of those of --test-images")
    parser.add_argument(
        "--permute", type=int, metavar="SEED", help="put the pixels of all images into one random order"
    )
    parser.add_argument(
        "--downsample", type=int, default=1, help="side of the squares that become one pixel, default 1"
    )
    parser.add_argument("--levels", type=int, default=4, help="grey levels, default 4")
    parser.add_argument("--valid-share", type=float, default=0.1, help="share of the validation split")
    parser.add_argument("--test-share", type=float, default=0.1, help="share of the test split")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Write the data and say what was written, or raise what cannot work."""
    splits = load_splits(args)
    levels = {
        name: quantise(pool(part.pixels, args.downsample), part.white, args.levels) for name, part in splits.items()
    }
    classes = 1 + max(int(part.labels.max()) for part in splits.values()) if args.classes else 0
    form = PixelFormat(*levels["train"].shape[1:], args.levels, classes, args.permute)
    write({name: form.items(part, splits[name].labels) for name, part in levels.items()}, form, args.destdir)
    print(", ".join(f"{name}: {len(part)} images" for name, part in splits.items()))
    order = f", in the order of --permute {form.permutation}" if form.permutation is not None else ""
    ending = f", and one of {form.classes} classes" if form.classes else ""
    print(f"wrote {args.destdir}: {form.height} × {form.width} pixels of {form.levels} grey levels{order}{ending}")
    ask = " --ask last" if form.classes else ""
    print(f"train with --sample-break-mode eos --tokens-per-sample {form.length}{ask}")


def main() -> None:
    with command():
        run(parse())


if __name__ == "__main__":
    main()
