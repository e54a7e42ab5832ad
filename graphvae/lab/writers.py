"""Tables for a person, written once and never over what is there. The verb is `write_table`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from graphvae.compiler.errors import FlagError
from graphvae.lab.sources import Array, Columns


def write_table(columns: Columns, path: Path) -> None:
    """Write columns [row, ...] as a file that the source of its ending reads: .csv, .npz or .parquet.

    Raises:
        FlagError: If the file exists, cannot be written, has another ending, or is a csv file for a column of several numbers.
    """
    check_new(path)
    if path.suffix not in _WRITERS:
        raise FlagError.of("GV501", f"{path} is no kind of table", hint=f"choose a name that ends in {', '.join(_WRITERS)}")
    deep = [name for name, values in columns.items() if values.ndim > 1]
    if deep and path.suffix == ".csv":
        message = f"a csv file has one value in a cell, and '{deep[0]}' has the shape {list(columns[deep[0]].shape[1:])}"
        hint = "name a column for each number in data.columns, or write an .npz or a .parquet file"
        raise FlagError.of("GV501", message, hint=hint)
    try:
        with path.open("xb") as file:
            _WRITERS[path.suffix](columns, file)
    except OSError as error:
        raise FlagError.of("GV501", f"cannot write {path}: {error.strerror}") from None


def check_new(path: Path) -> None:
    """Nothing is ever overwritten."""
    if path.exists():
        raise FlagError.of("GV501", f"{path} exists", hint="choose another name")


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
    """A column; NaN and an empty text are cells with nothing in them."""
    import pyarrow

    if values.ndim > 1:
        return pyarrow.FixedSizeListArray.from_arrays(_column(values.reshape(-1, *values.shape[2:])), values.shape[1])
    if values.dtype.kind in "OU":
        values = np.array([text or None for text in values.astype(str).tolist()], dtype=object)
    return pyarrow.array(values, from_pandas=True)


_WRITERS = {".csv": _write_csv, ".npz": _write_npz, ".parquet": _write_parquet}
