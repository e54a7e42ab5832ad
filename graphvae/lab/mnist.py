"""MNIST in its four IDX files, from a folder or downloaded. The verbs are `read_mnist` and `read_digits`."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError, Span
from graphvae.lab.sources import Rows, Wanted, download

Bytes = NDArray[np.uint8]

MNIST_FILES = {  # md5 of the content: the same digits come in .gz files with different headers
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
HINT = "pass --data the folder of the four IDX files, or name it in $GRAPHVAE_DATA"


class Digits(NamedTuple):
    """Images [row, 28, 28], bright on black, and labels [row] from 0 to 9."""

    images: Bytes
    labels: Bytes


def read_mnist(folder: Path | None, wanted: Wanted | None, span: Span | None) -> Rows:
    """The 60,000 + 10,000 digits of MNIST: image [28, 28] between 0 and 1, label 0 to 9."""
    train, test = read_digits("train", folder, span), read_digits("t10k", folder, span)
    images, labels = (np.concatenate(parts) for parts in zip(train, test, strict=True))
    columns = {"image": images.astype(np.float32) / np.float32(255), "label": labels.astype(np.int64)}
    return Rows(columns, tuple(columns), test=np.arange(60_000, 70_000))


def read_digits(part: Literal["train", "t10k"], folder: Path | None, span: Span | None) -> Digits:
    """The digits for training, or those for the test.

    Raises:
        DataError: If their files are missing and cannot be downloaded, or are not what they should be.
    """
    names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    return Digits(*(_read_idx(_content(name, folder, span)) for name in names))


def _content(name: str, folder: Path | None, span: Span | None) -> bytes:
    where = folder or _data_folder()
    found = [path for path in (where / f"{name}.gz", where / name) if path.exists()] if where else []
    if where and not found:
        raise DataError.of("GV301", f"there is no {name}.gz in {where}", span, "pass --data the folder of the four IDX files")
    path = found[0] if found else download(MNIST_URL, f"{name}.gz", None, span, HINT)
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError) as error:
        raise DataError.of("GV301", f"cannot read {path}: {error}", span) from None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != MNIST_FILES[name]:
        raise DataError.of("GV301", f"{path} is not MNIST's {name}: its content has another checksum", span)
    return content


def _data_folder() -> Path | None:
    folder = os.environ.get("GRAPHVAE_DATA")
    return Path(folder) if folder else None


def _read_idx(content: bytes) -> Bytes:
    """An array in IDX format: two zero bytes, the type (8 is uint8), the number of axes, their sizes, the data."""
    axes = content[3]
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
