"""Where rows come from: each source gives columns as arrays. The verb is `read_source`."""

from __future__ import annotations

import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError, Span, closest
from graphvae.compiler.spec import Scenes

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
BuiltIn = Callable[[Path | None, Wanted | None, Span | None], Rows]


def read_source(name: str, path: Path | None, wanted: Wanted | None, span: Span | None, scenes: Scenes | None = None) -> Rows:
    """The rows of a source.

    Args:
        name: The source's name in the spec.
        path: Its file or folder; None for the default, which a person's own data do not have.
        wanted: The columns to read, of which the source may lack some; None for all that it has.
        span: Where the spec names it.
        scenes: How many a source that composes them is to give; None for its default.

    Raises:
        DataError: If its files are missing, truncated, too large or not what they should be.
    """
    if name in BUILT_IN:
        return _built_in(name, scenes)(path, wanted, span)
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


def numbered(name: str, index: int) -> str:
    """What a csv file calls the column of one of several values.

    >>> numbered("digit", 2)
    'digit_2'
    """
    return f"{name}_{index}"


def download(url: str, name: str, known_hash: str | None, span: Span | None, hint: str) -> Path:
    """A file of well-known data, from the cache if it was fetched before; `known_hash` is `md5:...`, or None.

    Raises:
        DataError: If it cannot be fetched.
    """
    import pooch

    try:
        return Path(pooch.retrieve(url + name, known_hash=known_hash, fname=name, path=pooch.os_cache("graphvae")))
    except Exception as error:  # pooch lets the errors of several network libraries through
        raise DataError.of("GV301", f"cannot download {name}: {error}", span, hint) from None


def no_rows(path: Path, span: Span | None) -> DataError:
    return DataError.of("GV301", f"there are no rows in {path}", span)


def check_size(path: Path, rows: int, numbers: int, size: int, span: Span | None) -> None:
    """Refuse what would fill the memory: so many rows of so many numbers of `size` bytes."""
    if rows * numbers * size > LARGEST:
        message = f"{path} has about {rows:,} rows of {numbers:,} numbers, {rows * numbers * size / 1e9:,.1f} GB in memory"
        hint = f"at most {LARGEST / 1e9:,.1f} GB are read: name fewer columns, or leave rows out"
        raise DataError.of("GV301", message, span, hint)


def _built_in(name: str, scenes: Scenes | None) -> BuiltIn:
    """A reader of well-known data, whose libraries load when it is asked for."""
    from graphvae.lab.mnist import read_mnist
    from graphvae.lab.multi_mnist import read_multi_mnist
    from graphvae.lab.svhn import read_svhn
    from graphvae.lab.yaleb import read_yaleb

    readers: dict[str, BuiltIn] = {
        "digits": _digits,
        "mnist": read_mnist,
        "multi_mnist": partial(read_multi_mnist, scenes=scenes),
        "svhn": read_svhn,
        "yaleb": read_yaleb,
    }
    return readers[name]


def _reader(name: str) -> Reader:
    """A reader of a person's own data, whose libraries load when it is asked for."""
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


def _digits(path: Path | None, wanted: Wanted | None, span: Span | None) -> Rows:
    """The 1,797 digits of scikit-learn: image [8, 8] between 0 and 1, digit 0 to 9."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    columns = {"image": (images / 16).reshape(-1, 8, 8).astype(np.float32), "digit": digits.astype(np.int64)}
    return Rows(columns, tuple(columns))


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


BUILT_IN = ("digits", "mnist", "multi_mnist", "svhn", "yaleb")
ENDINGS = {".csv": "csv", ".npz": "npz", ".parquet": "parquet"}
