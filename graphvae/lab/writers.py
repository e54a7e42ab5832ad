"""Tables for a person, and never over what is there. The verb is `write_table`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from graphvae.compiler.errors import FlagError
from graphvae.lab.sources import Array, Columns, numbered


def check_table(path: Path) -> None:
    """A table can be written there, as far as the name can tell.

    Raises:
        FlagError: If something is there, or the ending is none of .csv, .npz and .parquet.
    """
    if path.suffix not in _WRITERS:
        raise FlagError.of("GV501", f"{path} is no kind of table", hint=f"choose a name that ends in {', '.join(_WRITERS)}")
    if path.exists():
        raise _exists(path)


def write_table(columns: Columns, path: Path) -> None:
    """Write columns [row, ...] as a file that the source of its ending reads: .csv, .npz or .parquet.

    In a csv file, a column of several values is one for each of them, as NAME_0, NAME_1 and so on.

    Raises:
        FlagError: If the file exists, cannot be written, has another ending, or is a csv file for a column of whole arrays.
    """
    check_table(path)
    if path.suffix == ".csv":
        columns = _flat(columns)
    with new_file(path) as file:
        _WRITERS[path.suffix](columns, file)


def write_pictures(columns: Columns, folder: Path) -> None:
    """Write a folder that the source `images` reads: `image` as pictures, cut off at 0 and at 1, and the rest in a table.

    Raises:
        FlagError: If the folder exists, or cannot be made.
    """
    from PIL import Image

    try:
        folder.mkdir()
    except OSError as error:
        reason = "exists" if folder.exists() else f"cannot be made: {error.strerror}"
        raise FlagError.of("GV501", f"{folder} {reason}", hint="choose another name") from None
    pixels = np.round(np.clip(np.asarray(columns["image"], np.float64), 0, 1) * 255).astype(np.uint8)
    files = np.array([f"{row:06d}.png" for row in range(len(pixels))])
    for file, picture in zip(files, pixels, strict=True):
        coloured = picture.ndim == 3 and len(picture) == 3
        Image.fromarray(np.moveaxis(picture, 0, -1) if coloured else picture.reshape(picture.shape[-2:])).save(folder / file)
    write_table({"file": files, **{name: values for name, values in columns.items() if name != "image"}}, folder / "images.csv")


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that was not there before, and is not there after a failure.

    Raises:
        FlagError: If it is there, since nothing is ever overwritten, or cannot be made.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise FlagError.of("GV501", f"cannot write {path}: {error.strerror}") from None
    try:
        with file:
            yield file
    except BaseException:
        path.unlink()
        raise


def _exists(path: Path) -> FlagError:
    return FlagError.of("GV501", f"{path} exists", hint="choose another name")


def _flat(columns: Columns) -> Columns:
    """Columns of a single value each."""
    deep = [name for name, values in columns.items() if values.ndim > 2]
    if deep:
        message = f"a cell of a csv file has one value, and '{deep[0]}' has the shape {list(columns[deep[0]].shape[1:])}"
        hint = "name a column for each number in data.columns, or write an .npz or a .parquet file"
        raise FlagError.of("GV501", message, hint=hint)
    flat: dict[str, Array] = {}
    for name, values in columns.items():
        parts = {numbered(name, index): part for index, part in enumerate(values.T)} if values.ndim == 2 else {name: values}
        if twice := [part for part in parts if part in flat or (part in columns and part != name)]:
            raise FlagError.of("GV501", f"two columns would be called '{twice[0]}'", hint="write an .npz or a .parquet file")
        flat |= parts
    return flat


def _write_npz(columns: Columns, file: IO[bytes]) -> None:
    arrays: Mapping[str, Any] = {
        name: values.astype(str) if values.dtype == object else values for name, values in columns.items()
    }
    np.savez(file, allow_pickle=False, **arrays)


def _write_csv(columns: Columns, file: IO[bytes]) -> None:
    import pyarrow.csv

    pyarrow.csv.write_csv(_arrow(columns), file)


def _write_parquet(columns: Columns, file: IO[bytes]) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(_arrow(columns), file)


def _arrow(columns: Columns) -> Any:
    import pyarrow

    return pyarrow.table({name: _column(values) for name, values in columns.items()})


def _column(values: Array) -> Any:
    """A column; NaN, -1 among integers, and an empty text are cells with nothing in them."""
    import pyarrow

    if values.ndim > 1:
        return pyarrow.FixedSizeListArray.from_arrays(_column(values.reshape(-1, *values.shape[2:])), values.shape[1])
    if values.dtype.kind in "OU":
        values = np.array([text or None for text in values.astype(str).tolist()], dtype=object)
    return pyarrow.array(values, from_pandas=True, mask=values == -1 if values.dtype.kind == "i" else None)


_WRITERS = {".csv": _write_csv, ".npz": _write_npz, ".parquet": _write_parquet}
