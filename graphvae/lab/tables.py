"""Tables of a person's own: csv and parquet files, read strictly. The verbs are `read_csv` and `read_parquet`."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute as compute
import pyarrow.csv
import pyarrow.parquet

from graphvae.compiler.errors import DataError, Span, visible
from graphvae.lab.sources import Array, Rows, Wanted, check_size, no_rows, normalised, numbered

NUMBER = 8  # bytes
SAMPLE = 1 << 20  # bytes of a file from which its rows are counted before it is read
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)  # what pyarrow says


def read_csv(path: Path, wanted: Wanted | None, span: Span | None) -> Rows:
    """The columns of a csv file: UTF-8, commas, a header of different names, a cell of every column in every line.

    A column is numbers if every cell is a number or empty, and it is not wanted as names; else it is text, without the space
    around it. A vector may have a column for each of its values, NAME_0, NAME_1 and so on. Lines with nothing in them are no
    rows.
    """
    header = _header(path, span)
    names = [normalised(name) for name in header]
    _check_names(path, names, span)
    if len(names) == 1 and (found := set(names[0]) & set(";\t|")):
        hint = "save it with commas between the columns"
        raise DataError.of("GV301", f"{path} has {found.pop()!r} between its columns", span, hint)
    vectors = _vectors(wanted or {}, names)
    parts = {part for columns in vectors.values() for part in columns}
    present = [name for name in names if wanted is None or name in wanted or name in parts]
    if not present:
        return Rows({}, tuple(names))
    check_size(path, _estimated_rows(path), len(present), NUMBER, span)
    own = dict(zip(names, header, strict=True))
    table = _parsed(path, header, [own[name] for name in present], span)
    named = {name for name, want in (wanted or {}).items() if want.named}
    columns = {name: _cells(table.column(own[name]), name in named) for name in present if wanted is None or name in wanted}
    for name, each in vectors.items():
        columns[name] = _side_by_side([table.column(own[part]) for part in each], name in named)
    return Rows(columns, tuple(names), place=lambda row: f"line {_line(path, row + 1)} of {path.name}")


def read_parquet(path: Path, wanted: Wanted | None, span: Span | None) -> Rows:
    """The columns of a parquet file: numbers, booleans, text, and lists of them that are equally long in every row."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            own = file.schema_arrow.names
            names = [normalised(name) for name in own]
            _check_names(path, names, span)
            present = {name: column for name, column in zip(names, own, strict=True) if wanted is None or name in wanted}
            _check_parquet_size(path, file.metadata, file.schema_arrow, list(present.values()), span)
            table = file.read(columns=list(present.values()))
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError.of("GV301", f"cannot read {path}: {error}", span) from None
    rows = Rows({}, tuple(names), place=lambda row: f"row {row} of {path.name}")
    columns = {name: _values(table.column(column), path, name, rows, span) for name, column in present.items()}
    return Rows(columns, rows.names, place=rows.place)


def _header(path: Path, span: Span | None) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next((record for record in csv.reader(file) if record), None)
    except UnicodeDecodeError:
        raise _not_utf8(path, span) from None
    except (OSError, csv.Error) as error:
        raise DataError.of("GV301", f"cannot read {path}: {error}", span) from None
    if header is None:
        raise DataError.of("GV301", f"{path} is empty", span, "a table begins with a line of the names of its columns")
    return header


def _check_names(path: Path, names: list[str], span: Span | None) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        message = f"{path} has {len(twice)} name(s) of columns twice or more: {', '.join(map(visible, twice[:5]))}"
        raise DataError.of("GV302", message, span, "rename them, so that a name is one column")


def _estimated_rows(path: Path) -> int:
    """How many lines the file has, if all of it is like its beginning."""
    with path.open("rb") as file:
        start = file.read(SAMPLE)
    return round(path.stat().st_size / len(start) * start.count(b"\n")) if start else 0


def _parsed(path: Path, names: list[str], present: list[str], span: Span | None) -> Any:
    """The columns as text, with nothing in an empty cell."""
    try:
        table = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(use_threads=False),  # with threads, an error does not know its row
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                include_columns=present,
                column_types=dict.fromkeys(names, pyarrow.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except (OSError, pyarrow.ArrowException) as error:
        if found := RAGGED.search(str(error)):
            raise _ragged(path, found, span) from None
        if "Empty CSV file" in str(error):  # a header without a line break
            raise no_rows(path, span) from None
        if "UTF8" in str(error):
            raise _not_utf8(path, span) from None
        raise DataError.of("GV301", f"cannot read {path}: {error}", span) from None
    _check_bytes(path, span)
    return table


def _ragged(path: Path, found: re.Match[str], span: Span | None) -> DataError:
    row, expected, actual, text = found.groups()
    message = f"line {_line(path, int(row) - 1)} of {path} has {actual} cell(s), and the header {expected}"
    hint = f"the line is: {visible(text)}\nan empty cell needs its comma, and a comma inside a cell needs quotes around it"
    return DataError.of("GV304", message, span, hint)


def _not_utf8(path: Path, span: Span | None) -> DataError:
    return DataError.of("GV301", f"{path} is not UTF-8", span, "save the table as UTF-8")


def _check_bytes(path: Path, span: Span | None) -> None:
    """What no reader of ours minds: zeros, and a quote that is never closed, which would swallow the rest of the file."""
    quotes = zeros = 0
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(SAMPLE), b""):
            quotes, zeros = quotes + chunk.count(b'"'), zeros + chunk.count(0)
    if zeros:
        raise DataError.of("GV301", f"{path} has bytes that are zero, and no text has", span, "save the table as UTF-8")
    if quotes % 2 == 0:
        return
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        records, start = csv.reader(file, strict=True), 1
        try:
            for _ in records:
                start = records.line_num + 1
        except csv.Error:
            message = f"the quotes in line {start} of {path} do not match"
            raise DataError.of("GV304", message, span, 'write "" for a quote inside quotes') from None


def _line(path: Path, record: int) -> int:
    """The line in which a record of a csv file begins; record 0 is the header, and a record may have several lines."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file, suppress(csv.Error):
        records, line = csv.reader(file), 1
        for cells in records:
            if cells:
                record -= 1
            if record < 0:
                break
            line = records.line_num + 1
    return line


def _cells(column: Any, named: bool) -> Array:
    """Texts as numbers, if all of them are; an empty one is then NaN."""
    trimmed = _trimmed(column)
    filled = compute.if_else(compute.equal(trimmed, ""), None, trimmed)
    if not named:
        try:
            return _numbers(compute.cast(filled, pyarrow.float64()))
        except pyarrow.ArrowInvalid:
            pass
    return _texts(filled)


def _vectors(wanted: Wanted, names: Collection[str]) -> dict[str, list[str]]:
    """The columns of each vector that has one for every value, and none of its own name."""
    shapes = {name: want.event or () for name, want in wanted.items() if name not in names}
    parts = {name: [numbered(name, index) for index in range(shape[0])] for name, shape in shapes.items() if len(shape) == 1}
    return {name: each for name, each in parts.items() if set(each) <= set(names)}


def _side_by_side(columns: Sequence[Any], named: bool) -> Array:
    """Columns as rows [row, column]: numbers, if all of them are."""
    cells = [_cells(column, named) for column in columns]
    if any(each.dtype == object for each in cells):
        cells = [_cells(column, named=True) for column in columns]
    return np.stack(cells, axis=1)


def _trimmed(column: Any) -> Any:
    return compute.utf8_normalize(compute.utf8_trim_whitespace(column), form="NFC")


def _check_parquet_size(path: Path, metadata: Any, schema: Any, present: list[str], span: Span | None) -> None:
    lists = {name: getattr(schema.field(name).type, "list_size", 1) for name in present}
    check_size(path, metadata.num_rows, sum(lists.values()), NUMBER, span)
    chunks = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    columns = [chunk.column(index) for chunk in chunks for index in range(chunk.num_columns)]
    read = [column for column in columns if column.path_in_schema.split(".")[0] in present]
    check_size(path, 1, sum(column.total_uncompressed_size for column in read), 1, span)


def _values(column: Any, path: Path, name: str, rows: Rows, span: Span | None) -> Array:
    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        return _values(column.cast(kind.value_type), path, name, rows, span)
    if _is_text(kind):
        return _texts(_trimmed(column.cast(pyarrow.large_string())))
    if _is_list(kind):
        return _stacked(column.combine_chunks(), path, name, rows, span)
    if not _is_number(kind):
        message = f"the column '{name}' of {path} holds {kind}"
        raise DataError.of("GV304", message, span, "a column should hold numbers, booleans, text, or lists of numbers")
    return _numbers(column)


def _stacked(lists: Any, path: Path, name: str, rows: Rows, span: Span | None) -> Array:
    """Lists as an array [row, item...]; a list that is missing is NaN all over, or empty texts."""
    kind = lists.type.value_type
    if not (_is_list(kind) or _is_number(kind) or _is_text(kind)):
        message = f"the column '{name}' of {path} holds {lists.type}"
        raise DataError.of("GV304", message, span, "a list should hold numbers or texts")
    there = lists.is_valid().to_numpy(zero_copy_only=False)
    lengths = compute.list_value_length(lists).fill_null(-1).to_numpy(zero_copy_only=False)
    length = int(lengths[there][0]) if there.any() else 0
    if (lengths[there] != length).any():
        row = int(np.flatnonzero(there & (lengths != length))[0])
        message = f"'{name}' has {lengths[row]} items in {rows.place(row)}, and {length} before"
        raise DataError.of("GV304", message, span, "the lists of a column should be equally long")
    items = lists.drop_null().flatten()
    inner = _stacked(items, path, name, rows, span) if _is_list(kind) else _items(items)
    stacked = inner.reshape(int(there.sum()), length, *inner.shape[1:])
    if there.all():
        return stacked
    missing, dtype = ("", object) if inner.dtype == object else (np.nan, np.float64)
    whole = np.full((len(there), *stacked.shape[1:]), missing, dtype)
    whole[there] = stacked
    return whole


def _items(items: Any) -> Array:
    return _texts(_trimmed(items.cast(pyarrow.large_string()))) if _is_text(items.type) else _numbers(items)


def _is_text(kind: Any) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind))


def _is_list(kind: Any) -> bool:
    return bool(pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    types = pyarrow.types
    return any(
        is_kind(kind) for is_kind in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    )


def _numbers(column: Any) -> Array:
    """Numbers as floats, NaN where one is missing; what can be neither that nor -1, unsigned or a switch, as it is."""
    exact = pyarrow.types.is_unsigned_integer(column.type) or pyarrow.types.is_boolean(column.type)
    if exact and not column.null_count:
        return _to_numpy(column)
    if not pyarrow.types.is_floating(column.type):
        column = column.cast(pyarrow.uint8()) if pyarrow.types.is_boolean(column.type) else column
        column = column.cast(pyarrow.float64())
    return _to_numpy(compute.fill_null(column, np.nan))


def _texts(column: Any) -> Array:
    return np.asarray(compute.fill_null(column, ""), dtype=object)


def _to_numpy(column: Any) -> Array:
    array: Array = np.asarray(column)
    return array
