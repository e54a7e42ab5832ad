"""Where rows come from: each source gives columns as arrays. The verb is `read_source`."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError, Span, closest

Array = NDArray[np.generic]
Columns = Mapping[str, Array]
Index = NDArray[np.intp]
LARGEST = 8_000_000_000  # bytes of the numbers in memory


@dataclass(frozen=True)
class Want:
    """What a spec wants of a column: texts that name categories or groups, or pictures in a shape."""

    named: bool = False
    event: tuple[int, ...] | None = None


Wanted = Mapping[str, Want]


def _row(row: int) -> str:
    return f"row {row}"


@dataclass(frozen=True)
class Rows:
    """The columns of a source that were wanted, [row, ...] each, and the names of all columns that it has.

    A missing number is NaN, a missing text is empty. `test` are the rows that the source itself keeps for the test, None where
    the spec is to split them. `place` says where a row stands, as a person finds it.
    """

    columns: Columns
    names: tuple[str, ...]
    test: Index | None = None
    place: Callable[[int], str] = _row

    @property
    def count(self) -> int:
        return len(next(iter(self.columns.values())))


Reader = Callable[[Path, Wanted | None, Span | None], Rows]


def read_source(name: str, path: Path | None, wanted: Wanted | None, span: Span | None) -> Rows:
    """The rows of a source.

    Args:
        name: The source's name in the spec.
        path: Its file or folder; None for the default, which a person's own data do not have.
        wanted: The columns to read, of which the source may lack some; None for all that it has.
        span: Where the spec names it.

    Raises:
        DataError: If its files are missing, truncated, too large or not what they should be.
    """
    if name in BUILT_IN:
        return BUILT_IN[name](path, span)
    if path is None:
        hint = "pass --data PATH, or write it in the spec as data: {path: PATH}"
        raise DataError.of("GV301", f"the source {name} needs its {_kind(name)}", span, hint)
    if not path.exists():
        raise DataError.of("GV301", f"there is no {_kind(name)} {path}", span, _did_you_mean(path))
    reads = source_of(path) if path.is_dir() or path.suffix.lower() in ENDINGS else name
    if reads != name:
        raise DataError.of("GV301", f"{path} is not what the source {name} reads", span, f"write source: {reads}")
    rows = _reader(name)(path, wanted, span)
    if rows.columns and not rows.count:
        raise no_rows(path, span)
    return rows


def source_of(path: Path) -> str:
    """The source that reads a file or a folder, by its ending.

    Raises:
        DataError: If there is none.
    """
    if path.is_dir():
        return "images"
    if path.suffix.lower() in ENDINGS:
        return ENDINGS[path.suffix.lower()]
    known = ", ".join(ENDINGS)
    raise DataError.of("GV301", f"{path} is neither a folder of images nor a file that ends in {known}")


def normalised(text: str) -> str:
    """A text in the form in which a spec is read, so that what looks alike is alike."""
    return unicodedata.normalize("NFC", text)


def no_rows(path: Path, span: Span | None) -> DataError:
    return DataError.of("GV301", f"there are no rows in {path}", span)


def check_size(path: Path, rows: int, numbers: int, size: int, span: Span | None) -> None:
    """Refuse what would fill the memory: so many rows of so many numbers of `size` bytes."""
    if rows * numbers * size > LARGEST:
        message = f"{path} has about {rows:,} rows of {numbers:,} numbers, {rows * numbers * size / 1e9:,.1f} GB in memory"
        hint = f"at most {LARGEST / 1e9:,.1f} GB are read: name fewer columns, or leave rows out"
        raise DataError.of("GV301", message, span, hint)


def _reader(name: str) -> Reader:
    """A reader, whose libraries load when it is asked for."""
    from graphvae.lab.images import read_images
    from graphvae.lab.tables import read_csv, read_parquet

    readers: dict[str, Reader] = {"npz": _npz, "csv": read_csv, "parquet": read_parquet, "images": read_images}
    return readers[name]


def _kind(name: str) -> str:
    return "folder" if name == "images" else "file"


def _did_you_mean(path: Path) -> str:
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    close = closest(path.name, beside)
    return f"did you mean {path.with_name(close)}?" if close else ""


def _digits(path: Path | None, span: Span | None) -> Rows:
    """The 1,797 digits of scikit-learn: image [8, 8] between 0 and 1, digit 0 to 9."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    columns = {"image": (images / 16).reshape(-1, 8, 8).astype(np.float32), "digit": digits.astype(np.int64)}
    return Rows(columns, tuple(columns))


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
    images, labels = (
        np.concatenate([arrays[f"{part}-{kind}-ubyte"] for part in ("train", "t10k")])
        for kind in ("images-idx3", "labels-idx1")
    )
    columns = {"image": images.astype(np.float32) / np.float32(255), "label": labels.astype(np.int64)}
    return Rows(columns, tuple(columns), test=np.arange(60_000, 70_000))


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


def _npz(path: Path, wanted: Wanted | None, span: Span | None) -> Rows:
    """The arrays of an `.npz` file, a row for every first index."""
    try:
        headers = _headers(path)
        present = [name for name in headers if wanted is None or name in wanted]
        for name in present:
            shape, kind = headers[name]
            check_size(path, shape[0] if shape else 1, prod(shape[1:]), kind.itemsize, span)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            columns = {name: file[name] for name in present}
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        NotImplementedError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        hint = "numpy.savez(FILE, column=values, ...) writes such a file"
        raise DataError.of("GV301", f"cannot read {path}: {error}", span, hint) from None
    rows = {name: len(values) if values.ndim else 0 for name, values in columns.items()}
    if len(set(rows.values())) > 1 or not all(values.ndim for values in columns.values()):
        counts = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise DataError.of("GV304", f"the columns of {path} should have equally many rows: {counts}", span)
    return Rows(columns, tuple(headers))


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The shape and the type of every array in an `.npz` file, without reading any."""
    found = {}
    with zipfile.ZipFile(path) as file:
        for member in file.namelist():
            with file.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, kind = read(stream)
                found[member.removesuffix(".npy")] = shape, kind
    return found


BUILT_IN: Mapping[str, Callable[[Path | None, Span | None], Rows]] = {"digits": _digits, "mnist": _mnist}
ENDINGS = {".csv": "csv", ".npz": "npz", ".parquet": "parquet"}
