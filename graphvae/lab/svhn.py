"""The cropped digits of Street View House Numbers: the original .mat files, or an .npz file. The verb is `read_svhn`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError, Span
from graphvae.lab.sources import Array, Rows, Want, Wanted, download, no_rows, read_source

SVHN_FILES = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}  # md5
SVHN_URL = "http://ufldl.stanford.edu/housenumbers/"
HINT = f"pass --data an .npz or a .mat file, or the folder of {' and '.join(SVHN_FILES)}"


class Crops(NamedTuple):
    """Images [row, height, width, 3] in bytes, and the digit in the middle of each, [row], 0 to 9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def read_svhn(path: Path | None, wanted: Wanted | None, span: Span | None) -> Rows:
    """The digits of house numbers: image [3, 32, 32] between 0 and 1, red, green and blue, and label 0 to 9.

    A folder has train_32x32.mat and test_32x32.mat, whose rows come one after the other; a file is one of these, or an .npz
    file with `images` [row, height, width, 3] and `label`, and its rows are for the spec to split. Without a path the two files
    are downloaded.

    Raises:
        DataError: If there are no such digits, or they cannot be read.
    """
    if path is not None and not path.is_dir():
        return _rows(_packed(path, span) if path.suffix.lower() == ".npz" else _read_mat(path, span), None)
    files = [path / name if path else download(SVHN_URL, name, f"md5:{md5}", span, HINT) for name, md5 in SVHN_FILES.items()]
    train, test = (_read_mat(file, span) for file in files)
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = " and ".join(f"[row, {', '.join(map(str, part.images.shape[1:]))}]" for part in (train, test))
        raise DataError.of("GV304", f"the images of {' and '.join(SVHN_FILES)} in {path} are {shapes}", span)
    crops = Crops(*(np.concatenate(parts) for parts in zip(train, test, strict=True)))
    return _rows(crops, np.arange(len(train.labels), len(crops.labels)))


def _rows(crops: Crops, test: NDArray[np.intp] | None) -> Rows:
    images = np.moveaxis(crops.images, -1, 1).astype(np.float32) / np.float32(255)
    columns = {"image": images, "label": crops.labels.astype(np.int64)}
    return Rows(columns, tuple(columns), test)


def _read_mat(path: Path, span: Span | None) -> Crops:
    """`X` [height, width, 3, row] and `y` [row, 1], in which 10 stands for the digit 0."""
    from scipy.io import loadmat

    if not path.is_file():
        raise DataError.of("GV301", f"there is no file {path}", span, HINT)
    try:
        found = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # of bytes that are no such file, scipy lets errors of many kinds through
        raise DataError.of("GV301", f"cannot read {path}: {error}", span, "is the file whole?") from None
    if not {"X", "y"} <= found.keys():
        raise DataError.of("GV302", f"{path} should have the arrays 'X' and 'y'", span, "as train_32x32.mat has")
    images, labels = (np.atleast_1d(np.asarray(found[name])) for name in ("X", "y"))
    return _checked(np.moveaxis(images, -1, 0), labels.reshape(-1), path, (1, 10), span)


def _packed(path: Path, span: Span | None) -> Crops:
    columns = read_source("npz", path, {"images": Want(), "label": Want()}, span).columns
    if len(columns) < 2:
        raise DataError.of("GV302", f"{path} should have the arrays 'images' and 'label'", span)
    return _checked(columns["images"], columns["label"], path, (0, 9), span)


def _checked(images: Array, labels: Array, path: Path, between: tuple[int, int], span: Span | None) -> Crops:
    """Crops whose images are [row, height, width, 3], and whose labels count from 0."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        message = f"the images in {path} should be bytes [row, height, width, 3], and are {images.dtype} {list(images.shape)}"
        raise DataError.of("GV304", message, span)
    if not len(images):
        raise no_rows(path, span)
    if labels.shape != images.shape[:1]:
        message = f"{path} should have a label for each of its {len(images):,} images, and they are {list(labels.shape)}"
        raise DataError.of("GV304", message, span)
    lowest, highest = between
    if not np.isin(labels, np.arange(lowest, highest + 1)).all():
        message = f"the labels in {path} should be whole numbers from {lowest} to {highest}"
        raise DataError.of("GV304", message, span)
    return Crops(images.astype(np.uint8, copy=False), (labels % 10).astype(np.uint8))
