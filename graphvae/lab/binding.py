"""Variables in place of columns: names become integers, texts numbers, each in the shape of the spec. The verb is `bind`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.data_rules import data_shape
from graphvae.compiler.errors import DataError, Span, did_you_mean, visible
from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.compiler.spec import Data
from graphvae.lab.sources import Array, Rows, Want

Names = Mapping[str, tuple[str, ...]]

WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
WHOLE = 2.0**53  # beyond it a float skips whole numbers


@dataclass(frozen=True)
class Bound:
    """Values [row, ...] by variable: a category is an integer or -1 where it is missing, all else a float or NaN.

    `categories` are the names of the variables whose cells hold names, in the order of their integers.
    """

    values: dict[str, Array]
    categories: dict[str, tuple[str, ...]]


def wanted(graph: ModelGraph) -> dict[str, Want]:
    """The columns that a spec names, for variables and for groups of rows."""
    data, found = graph.spec.data, dict[str, Want]()
    assert data is not None
    for name in data.columns:
        node = graph.variables[name]
        for column in data.columns_of(name):
            named = found.get(column, Want()).named or _has_names(node)
            shape = data_shape(graph, node) if isinstance(data.columns[name], str) else ()
            found[column] = Want(named, shape)
    for column in split_columns(data):
        found[column] = Want(named=True, event=found.get(column, Want()).event)
    return found


def split_columns(data: Data) -> list[str]:
    """The columns that the split looks at: its own, or that of a variable or a column that groups the rows."""
    split = data.split
    groups = [name for name in (split.within, split.by) if name is not None]
    named = [data.columns_of(name)[0] if name in data.columns else name for name in groups]
    return named + ([split.column] if split.column is not None else [])


def bind(graph: ModelGraph, rows: Rows, known: Names | None = None, partly: bool = False) -> Bound:
    """The variables of a spec's columns.

    Args:
        graph: The resolved spec.
        rows: What its source gave.
        known: The names of categories that a run has recorded; None where the data are to say them.
        partly: Whether columns of variables that q infers may be absent.

    Raises:
        DataError: For an absent column, a text where a number is expected, a name that is not known, or another shape.
    """
    data = graph.spec.data
    assert data is not None
    bound = Bound({}, {})
    for name in data.columns:
        node, columns = graph.variables[name], data.columns_of(name)
        if partly and node.inferred and not any(column in rows.columns for column in columns):
            continue
        shape = data_shape(graph, node)
        column = _Columns(node, data, rows, _present(node, shape, data, rows))
        values, names = column.codes(known) if _has_names(node) else (column.numbers(), None)
        bound.values[name] = values[0] if isinstance(data.columns[name], str) else _joined(values, shape)
        if names:
            bound.categories[name] = names
    return bound


def unbound(graph: ModelGraph, node: VariableNode, values: Array, leading: int = 1) -> dict[str, Array]:
    """The inverse of `bind` for one variable: values [leading..., plate..., event..., more...] by column."""
    assert graph.spec.data is not None
    columns = graph.spec.data.columns[node.name]
    if isinstance(columns, str):
        return {columns: values}
    more = values.shape[leading + len(data_shape(graph, node)) :]
    each = values.reshape(*values.shape[:leading], len(columns), *more)
    return {column: np.take(each, index, axis=leading) for index, column in enumerate(columns)}


def named(codes: Array, names: Sequence[str] | Sequence[int] | None) -> Array:
    """Categories as data holds them: by their names or their values, if they have any, and -1 as what is missing."""
    if not names:
        return codes
    missing = "" if isinstance(names[0], str) else -1
    return np.array([*names, missing])[codes.astype(np.intp)]


def _has_names(node: VariableNode) -> bool:
    return node.family is not None and node.family.simplex


def _present(node: VariableNode, shape: tuple[int, ...], data: Data, rows: Rows) -> dict[str, Array]:
    """The columns of a variable, one in the shape of the spec, or several that hold a number each."""
    found = {}
    for column in data.columns_of(node.name):
        span = data.column_span(node.name, column)
        if column not in rows.columns:
            hint = did_you_mean(column, rows.names, f"columns of {data.source}")
            raise DataError.of("GV302", f"{data.source} has no column '{visible(column)}'", span, hint)
        wanted = shape if isinstance(data.columns[node.name], str) else ()
        fitted = _fitted(rows.columns[column], wanted)
        if fitted is None:
            held = list(rows.columns[column].shape[1:])
            message = f"'{node.name}' has the shape {list(wanted)}, and the column '{visible(column)}' the shape {held}"
            raise DataError.of("GV304", message, span)
        found[column] = fitted
    return found


def _fitted(values: Array, shape: tuple[int, ...]) -> Array | None:
    """Rows in a shape: flat or not, with or without sizes of one, the channels first; None where they do not fit."""
    own = values.shape[1:]
    if len(own) == 3 and shape == (own[2], *own[:2]) and own[2] in (1, 3):
        return np.ascontiguousarray(np.moveaxis(values, -1, 1))
    flat = len(_bare(own)) < 2 or len(_bare(shape)) < 2
    fits = prod(own) == prod(shape) and (flat or _bare(own) == _bare(shape))
    return values.reshape(len(values), *shape) if fits else None


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _joined(columns: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """Columns [row] of a number each, as rows in a shape."""
    return np.stack(columns, axis=1).reshape(-1, *shape)


@dataclass(frozen=True)
class _Columns:
    """The columns of one variable."""

    node: VariableNode
    data: Data
    rows: Rows
    arrays: Mapping[str, Array]

    @property
    def span(self) -> Span | None:
        return self.data.span("columns", self.node.name)

    def numbers(self) -> list[Array]:
        """Each column as floats, NaN where a cell is empty."""
        return [self._floats(column, array) for column, array in self.arrays.items()]

    def _floats(self, column: str, array: Array) -> Array:
        kind = array.dtype.kind
        if kind in "OU":
            words = WORDS if self._binary else {}
            texts = _Cells(array)
            return texts.mapped({text: self._number(column, text, texts, words) for text in texts.different})
        if kind not in "biuf":
            message = f"'{self.node.name}' should be numbers, and the column '{visible(column)}' holds {array.dtype}"
            raise DataError.of("GV304", message, self.span)
        floats: Array = array if kind == "f" and array.itemsize in (4, 8) else array.astype(_exact(array))
        if kind == "i" and self._binary:  # what a column of whole numbers has for a missing switch
            floats = np.where(array == -1, np.nan, floats)
        return floats

    @property
    def _binary(self) -> bool:
        return self.node.family is not None and self.node.family.support == "binary"

    def _number(self, column: str, text: str, texts: _Cells, words: Mapping[str, float]) -> float:
        number = words.get(text.casefold(), _number(text))
        if number is None:
            place = self.rows.place(texts.first([text]))
            message = f"'{self.node.name}' should be numbers, and column '{visible(column)}' is '{visible(text)}' in {place}"
            hint = "leave a cell empty where its value is missing"
            raise DataError.of("GV304", message, self.data.column_span(self.node.name, column), hint)
        return number

    def codes(self, known: Names | None) -> tuple[list[Array], tuple[str, ...] | None]:
        """Each column as integers, -1 where a cell is empty, and the names that they stand for, if the cells hold names."""
        names = self._known_names(known)
        if not names and not any(array.dtype.kind in "OU" for array in self.arrays.values()):
            return [self._integers(column, array) for column, array in self.arrays.items()], None
        cells = {column: _Cells(self._named(column, array, names or ())) for column, array in self.arrays.items()}
        texts = {text for each in cells.values() for text in each.different if text}
        if not names and all(_code(text) is not None for text in texts):
            numbers = {text: _code(text) for text in texts} | {"": -1}
            return [each.mapped(numbers).astype(np.int64) for each in cells.values()], None
        if not names:
            names = self._new_names(texts, known, cells)
        index = {name: code for code, name in enumerate(names)}
        codes = {text: index.get(text, index.get(str(_whole(text)))) for text in texts} | {"": -1}
        self._check_known(codes, names, cells)
        return [each.mapped(codes).astype(np.int64) for each in cells.values()], names

    def _integers(self, column: str, array: Array) -> Array:
        """Whole numbers from 0, and -1 where one is missing."""
        numbers, missing = self._wholes(column, array)
        self._refuse_numbers(array, np.less(numbers, 0) & ~missing)
        return np.where(missing, -1, numbers)

    def _known_names(self, known: Names | None) -> tuple[str, ...] | None:
        if self.node.values:
            return tuple(map(str, self.node.values))
        return self.data.categories.get(self.node.name) or (known or {}).get(self.node.name)

    def _wholes(self, column: str, array: Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Whole numbers, and which are missing: NaN, or -1 in an array of integers, which has no NaN."""
        if array.dtype.kind not in "biuf":
            message = f"'{self.node.name}' is categorical, and the column '{visible(column)}' holds {array.dtype}"
            raise DataError.of("GV304", message, self.span)
        if array.dtype.kind != "f":
            numbers = array.astype(np.int64)
            return numbers, numbers == -1
        missing = np.isnan(array)
        self._refuse_numbers(array, ~missing & ((array != np.floor(array)) | (np.abs(array) > WHOLE)))
        return np.where(missing, 0, array).astype(np.int64), missing

    def _refuse_numbers(self, array: Array, broken: NDArray[np.bool_]) -> None:
        if broken.any():
            place = self.rows.place(int(np.argwhere(broken)[0, 0]))
            message = f"'{self.node.name}' is categorical, and is {array[broken][0]:g} in {place}"
            raise DataError.of("GV304", message, self.span, "categories are whole numbers from 0, or names")

    def _named(self, column: str, array: Array, names: Sequence[str]) -> Array:
        """The cells as texts, whole numbers among them, and nothing where one is missing."""
        if array.dtype.kind in "OU":
            return array
        if array.dtype.kind == "b":
            return np.where(array, "true", "false")
        numbers, missing = self._wholes(column, array)
        if array.dtype.kind != "f" and "-1" in names:
            missing = np.zeros_like(missing)
        return np.where(missing, "", numbers.astype(str))

    def _new_names(self, texts: Iterable[str], known: Names | None, cells: Mapping[str, _Cells]) -> tuple[str, ...]:
        names, categories = tuple(sorted(texts)), self.node.event[-1]
        if known is not None:
            self._refuse([text for text in names if _code(text) is None], "the run was trained on whole numbers", cells)
        if len(names) != categories:
            message = f"'{self.node.name}' has {len(names):,} names in the data, and {categories} categories in the spec"
            hint = f"the names are: {', '.join(map(visible, names[:12]))}{', ...' * (len(names) > 12)}\n"
            hint += f"write categories: {len(names)}" if len(names) > categories else "name them all, in data.categories"
            raise DataError.of("GV303", message, self.span, hint)
        return names

    def _check_known(self, codes: Mapping[str, int | None], names: tuple[str, ...], cells: Mapping[str, _Cells]) -> None:
        unknown = [text for text, code in codes.items() if code is None]
        if unknown:
            self._refuse(unknown, did_you_mean(min(unknown), names, f"names of '{self.node.name}'"), cells)

    def _refuse(self, texts: Sequence[str], hint: str, cells: Mapping[str, _Cells]) -> None:
        column, row = min(
            ((column, each.first(texts)) for column, each in cells.items() if each.has(texts)), key=lambda at: at[1]
        )
        cell = visible(str(cells[column].at(row, texts)))
        message = f"'{self.node.name}' is '{cell}' in {self.rows.place(row)}, which is none of its categories"
        raise DataError.of("GV303", message, self.span, hint)


class _Cells:
    """The texts of a column [row, ...]: which there are, and where."""

    def __init__(self, array: Array) -> None:
        self.shape = array.shape
        found, inverse = np.unique(array.astype(str).ravel(), return_inverse=True)
        self.different: list[str] = found.tolist()
        self.inverse = inverse

    def mapped(self, numbers: Mapping[str, float | None]) -> Array:
        made = np.array([numbers[text] for text in self.different], dtype=np.float64)
        return made[self.inverse].reshape(self.shape)

    def _where(self, texts: Sequence[str]) -> NDArray[np.intp]:
        return np.flatnonzero(np.isin(self.inverse, [index for index, text in enumerate(self.different) if text in texts]))

    def has(self, texts: Sequence[str]) -> bool:
        return any(text in texts for text in self.different)

    def first(self, texts: Sequence[str]) -> int:
        """The first row with one of the texts."""
        return int(self._where(texts)[0]) // prod(self.shape[1:])

    def at(self, row: int, texts: Sequence[str]) -> str:
        """The first of the texts that stands in a row."""
        return next(self.different[int(self.inverse[at])] for at in self._where(texts) if at // prod(self.shape[1:]) == row)


def _exact(array: Array) -> type[np.floating]:
    """The smaller float that holds such numbers as they are."""
    return np.float32 if array.itemsize <= 2 else np.float64


def _number(text: str) -> float | None:
    """A text as a number; nothing is NaN, and what is no number is None."""
    if not text:
        return np.nan
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    number = _number(text)
    return int(number) if number is not None and abs(number) <= WHOLE and number == int(number) else None


def _code(text: str) -> int | None:
    """The category that a text is the number of, if it is one."""
    number = _whole(text)
    return number if number is not None and number >= 0 else None
