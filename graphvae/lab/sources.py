"""Where rows come from. Each source gives its columns as arrays, with the test rows apart where it names them itself."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError, Span

Array = NDArray[np.generic]
Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Rows:
    """The columns of a source; `test` is None where the spec is to split them."""

    train: Columns
    test: Columns | None


def read_source(name: str, folder: Path | None, span: Span | None) -> Rows:
    """The rows of a source.

    Args:
        name: The source's name in the spec.
        folder: Where its files are, or its file; None for the default, `$GRAPHVAE_DATA` or a download.
        span: Where the spec names it.

    Raises:
        DataError: If its files are missing, truncated or not what they should be.
    """
    return SOURCES[name](folder, span)


def _digits(folder: Path | None, span: Span | None) -> Rows:
    """The 1,797 digits of scikit-learn: image [8, 8] between 0 and 1, digit 0 to 9."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    return Rows({"image": (images / 16).reshape(-1, 8, 8).astype(np.float32), "digit": digits.astype(np.int64)}, None)


MNIST_FILES = {  # md5 of the content: the same digits come in .gz files with different headers
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"


def _mnist(folder: Path | None, span: Span | None) -> Rows:
    """The 60,000 + 10,000 digits of MNIST: image [28, 28] between 0 and 1, label 0 to 9."""
    arrays = {name: _read_idx(name, _mnist_bytes(name, folder, span), span) for name in MNIST_FILES}
    train, test = (
        {
            "image": arrays[f"{part}-images-idx3-ubyte"].astype(np.float32) / np.float32(255),
            "label": arrays[f"{part}-labels-idx1-ubyte"].astype(np.int64),
        }
        for part in ("train", "t10k")
    )
    return Rows(train, test)


def _mnist_bytes(name: str, folder: Path | None, span: Span | None) -> bytes:
    where = folder or _data_folder()
    found = [path for path in (where / f"{name}.gz", where / name) if path.exists()] if where else []
    if where and not found:
        raise DataError.of("GV301", f"there is no {name}.gz in {where}", span, "pass --data the folder of the four IDX files")
    path = found[0] if found else _download(name, span)
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


def _download(name: str, span: Span | None) -> Path:
    import pooch

    try:
        cache = pooch.os_cache("graphvae")
        return Path(pooch.retrieve(f"{MNIST_URL}{name}.gz", known_hash=None, fname=f"{name}.gz", path=cache))
    except Exception as error:  # pooch lets the errors of several network libraries through
        hint = "pass --data the folder of the four IDX files, or name it in $GRAPHVAE_DATA"
        raise DataError.of("GV301", f"cannot download {name}: {error}", span, hint) from None


def _read_idx(name: str, content: bytes, span: Span | None) -> NDArray[np.uint8]:
    """An array in IDX format: two zero bytes, the type (8 is uint8), the number of axes, their sizes, the data."""
    axes = content[3]
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _npz(path: Path | None, span: Span | None) -> Rows:
    """The arrays of an `.npz` file, a row for every first index; NaN, or -1 in whole numbers, is missing."""
    hint = "pass --data FILE.npz, as numpy.savez(FILE, column=values, ...) writes it"
    if path is None or not path.is_file():
        where = f"there is no file {path}" if path else "an npz source needs its file"
        raise DataError.of("GV301", where, span, hint)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:  # a single .npy cannot be entered
        raise DataError.of("GV301", f"cannot read {path}: {error}", span, hint) from None
    rows = {name: len(values) if values.ndim else 0 for name, values in columns.items()}
    if len(set(rows.values())) != 1:
        counts = ", ".join(f"{name} {count}" for name, count in rows.items()) or "no array at all"
        raise DataError.of("GV304", f"the columns of {path} should have equally many rows: {counts}", span)
    return Rows(columns, None)


SOURCES: Mapping[str, Callable[[Path | None, Span | None], Rows]] = {"digits": _digits, "mnist": _mnist, "npz": _npz}
