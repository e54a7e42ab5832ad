"""A spec's data as tensors: columns bound to variables, split, transformed, checked, and without the labels nobody drew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from graphvae.compiler.data_rules import has_classes
from graphvae.compiler.errors import DataError, Span, visible
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.spec import Data, Spec
from graphvae.lab.binding import Bound, bind, split_columns, wanted
from graphvae.lab.labels import Mask, draw_labels, take_away, there
from graphvae.lab.sources import Array, Columns, Index, Rows, read_source, source_of
from graphvae.lab.splits import Parts, apart, split_rows
from graphvae.lab.transforms import Coding, Floats, Standard, Steps, forward, inverse, rescales
from graphvae.runtime import Variable

Table = Mapping[str, Tensor]


@dataclass(frozen=True)
class Dataset:
    """Tensors [row, ...] by variable. In `train` a label that no draw reveals is absent: -1, or NaN for a number.

    `revealed` counts the training rows that reveal each supervised variable; `labelled` are the rows that reveal any;
    `validation` rows, with their labels, are no part of `train`; `left_out` rows are in no part. `coding` says what the numbers
    mean, and `steps` are the transforms that made them.
    """

    train: Table
    test: Table
    validation: Table | None
    revealed: Mapping[str, int]
    labelled: tuple[int, ...]
    left_out: int
    coding: Coding
    steps: Mapping[str, Steps]
    fingerprint: str

    @property
    def rows(self) -> int:
        return _count(self.train)

    @property
    def each_time(self) -> list[str]:
        """The variables whose training rows hold probabilities, of which each step draws anew."""
        return [name for name, steps in self.steps.items() if "binarise_each_time" in steps]

    def budget(self) -> list[str]:
        """A line for each supervised variable: how many labels the training may see; and what became of other rows."""
        lines = [f"{count:,} of {self.rows:,} rows reveal {name}" for name, count in self.revealed.items()]
        if self.validation:
            labels = "all their labels" if self._complete(self.validation) else "the labels that they have"
            lines.append(f"{_count(self.validation):,} further rows, with {labels}, are set aside for validation")
        if self.left_out:
            lines.append(f"{self.left_out:,} rows stand in no block and are left out")
        return lines

    def _complete(self, table: Table) -> bool:
        return all(there(table[name].numpy()).all() for name in self.revealed)

    def in_units(self, values: Table) -> dict[str, Tensor]:
        """Numbers of the model in the units of the data."""
        return {
            name: torch.from_numpy(inverse(self.steps[name], value.numpy(), self.coding.standards.get(name)))
            if rescales(self.steps.get(name, ()))
            else value
            for name, value in values.items()
        }


class Reading(NamedTuple):
    """A file as a table for a model, and the data's own values [row, ...] that it was made of."""

    table: Table
    own: Bound


def source_path(spec: Spec, given: str | Path | None) -> Path | None:
    """Where a spec's data are: as given, or as the spec says from its own folder; None for the source's default."""
    written = spec.data.path if spec.data else None
    if given is not None or written is None:
        return Path(given) if given is not None else None
    assert spec.data is not None
    span = spec.data.span("path")
    beside = Path(span.file).parent if span and span.file != "--set" else Path()
    return beside / Path(written).expanduser()


def load_data(
    graph: ModelGraph, variables: Mapping[str, Variable], folder: Path | None = None, coding: Coding | None = None
) -> Dataset:
    """The dataset of a spec.

    Args:
        graph: The resolved spec; its `data` block says what to load.
        variables: The table of the compiled model, which knows each family's support.
        folder: Where the source's files are, or its file, before what the spec says.
        coding: That of the run whose data these are; None where the training rows are to say it.

    Raises:
        DataError: For files that cannot be read, columns that are not there, values that the likelihood cannot have, and
            labels that cannot be drawn.
    """
    data = graph.spec.data
    if data is None:
        raise DataError.of("GV301", "the spec has no data to train on", graph.spec.key("model"), "write a 'data' block")
    span = data.span("source") if folder is not None or data.path is None else data.span("path")
    rows = read_source(data.source, source_path(graph.spec, folder), wanted(graph), span)
    bound = bind(graph, rows, coding.categories if coding else None)
    _check_finite(data, rows, bound)
    parts = _parts(data, rows)
    train, validation = (
        apart(parts.train, data.validation.rows, data.validation.seed) if data.validation else (parts.train, None)
    )
    masks = _masks(graph, data, bound, train)
    coding = coding or Coding(bound.categories, _standards(graph, data, bound, train, masks))
    numbers, probabilities = _numbers(data, bound, coding), _probabilities(data, bound)
    for columns in (numbers, probabilities):
        _check_support(data, variables, rows, columns)
    trained, tested = _taken(numbers | probabilities, train), _taken(numbers, parts.test)
    checked = _taken(numbers, validation) if validation is not None else None
    shown = {name: take_away(trained[name], masks.get(name)) for name in graph.named("supervised")}
    any_label = np.any([np.zeros(len(train), dtype=bool), *masks.values()], axis=0)
    return Dataset(
        train=_tensors(trained | shown),
        test=_tensors(tested),
        validation=_tensors(checked) if checked else None,
        revealed={name: int(masks[name].sum()) if name in masks else 0 for name in graph.named("supervised")},
        labelled=tuple(np.flatnonzero(any_label).tolist()),
        left_out=rows.count - len(parts.train) - len(parts.test),
        coding=coding,
        steps={name: data.steps_of(name) for name in data.transforms},
        fingerprint=_fingerprint(trained, tested, checked or {}),
    )


def read_table(graph: ModelGraph, variables: Mapping[str, Variable], path: Path, coding: Coding) -> Reading:
    """A file for a model that is trained: a variable whose column is not there, or empty in a row, is unknown.

    Raises:
        DataError: For a file that cannot be read, or values that a likelihood cannot have.
    """
    data = graph.spec.data
    assert data is not None
    rows = read_source(source_of(path), path, wanted(graph), None)
    bound = bind(graph, rows, coding.categories, partly=True)
    _check_finite(data, rows, bound)
    numbers = _numbers(data, bound, coding)
    _check_support(data, variables, rows, numbers)
    return Reading(_tensors(numbers), bound)


def _check_finite(data: Data, rows: Rows, bound: Bound) -> None:
    """No family has an infinite value, and a transform of one would make others meaningless."""
    for name, values in bound.values.items():
        if (infinite := np.argwhere(np.isinf(values))).size:
            row = int(infinite[0, 0])
            column, span = _where(data, name, np.isinf(values[row]))
            value = values[tuple(infinite[0])]
            raise DataError.of("GV303", f"'{name}' is {value:g} in {rows.place(row)}{column}: no value may be infinite", span)


def _parts(data: Data, rows: Rows) -> Parts:
    if rows.test is None:
        return split_rows(data.split, rows, next(iter(split_columns(data)), None))
    return Parts(np.setdiff1d(np.arange(rows.count), rows.test), rows.test)


def _masks(graph: ModelGraph, data: Data, bound: Bound, train: Index) -> dict[str, Mask]:
    """The training rows that reveal each supervised variable."""
    supervised = graph.named("supervised")
    discrete = [name for name in supervised if has_classes(graph, name)]
    holes = [name for name in supervised if not there(bound.values[name]).all()]
    values = {name: bound.values[name][train] for name in supervised}
    return draw_labels(data.labels, values, discrete, holes, bound.categories)


def _standards(graph: ModelGraph, data: Data, bound: Bound, train: Index, masks: Mapping[str, Mask]) -> dict[str, Standard]:
    """Mean and deviation of what is standardised, in the training rows, of a label in those that reveal it."""
    found = {}
    for name in data.transforms:
        steps = data.steps_of(name)
        if "standardise" not in steps:
            continue
        seen = bound.values[name][train]
        if graph.variables[name].role == "supervised":
            seen = seen[masks[name]] if name in masks else seen[:0]
        seen = forward(name, steps[: steps.index("standardise")], cast(Floats, seen))
        _check_varied(data, name, seen)
        with np.errstate(over="ignore", invalid="ignore"):
            found[name] = Standard(np.nanmean(seen, 0, dtype=np.float64), np.nanstd(seen, 0, dtype=np.float64))
        if (broken := np.flatnonzero(~np.isfinite(found[name].mean) | ~np.isfinite(found[name].deviation))).size:
            message = f"{_element(data, name, int(broken[0]), np.size(seen[0]))} has numbers too large to be standardised"
            raise DataError.of("GV303", message, data.span("transforms", name))
    return found


def _check_varied(data: Data, name: str, seen: Floats) -> None:
    """What has no two different values in the training rows has no deviation."""
    low, high = (
        end(np.where(np.isnan(seen), none, seen), 0, initial=none) for end, none in ((np.min, np.inf), (np.max, -np.inf))
    )
    same = np.argwhere(np.reshape(low >= high, -1))
    if len(same):
        which = _element(data, name, int(same[0, 0]), np.size(low))
        message = f"{which} has no two different values in the training rows that show it, and cannot be standardised"
        raise DataError.of("GV303", message, data.span("transforms", name), "leave it out, or write {scale: [LOW, HIGH]}")


def _element(data: Data, name: str, index: int, size: int) -> str:
    """What a message calls one number of a variable: by its column, if it has its own."""
    columns = data.columns[name]
    if isinstance(columns, tuple):
        return f"'{visible(columns[index])}' of '{name}'"
    return f"'{name}'" if size == 1 else f"number {index} of '{name}'"


def _numbers(data: Data, bound: Bound, coding: Coding) -> dict[str, Array]:
    """The model's numbers; integers are categories, and no transform is for them."""
    return {
        name: values
        if np.issubdtype(values.dtype, np.integer)
        else _single(forward(name, data.steps_of(name), cast(Floats, values), coding.standards.get(name)))
        for name, values in bound.values.items()
    }


def _probabilities(data: Data, bound: Bound) -> dict[str, Array]:
    """What `binarise_each_time` draws from in the training."""
    each_time = [name for name in data.transforms if "binarise_each_time" in data.steps_of(name)]
    steps = {name: [step for step in data.steps_of(name) if step != "binarise_each_time"] for name in each_time}
    return {name: _single(forward(name, steps[name], cast(Floats, bound.values[name]))) for name in each_time}


def _single(values: Floats) -> Floats:
    with np.errstate(over="ignore"):  # what is too large is infinite then, and refused as such
        return values.astype(np.float32, copy=False)


def _check_support(data: Data, variables: Mapping[str, Variable], rows: Rows, columns: Columns) -> None:
    for name, values in columns.items():
        variable = variables[name]
        if variable.role in ("observed", "given") and not variable.masked:
            _check_complete(data, variable, name, rows, values)
        tensor = torch.from_numpy(values)
        soft = variable.soft or "binarise_each_time" in data.steps_of(name)
        outside = ~variable.family.supported(tensor, soft, variable.event, variable.number)
        if outside.any():
            first = outside.nonzero()[0]
            row, value = int(first[0]), tensor[tuple(first)].flatten()[0].item()
            after = " after its transforms" * (name in data.transforms)
            column, span = _where(data, name, outside[row].numpy())
            message = f"'{name}' is {value:g}{after} in {rows.place(row)}{column}, outside the support of "
            message += f"{variable.family.__name__} ({variable.family.support})"
            raise DataError.of("GV303", message, span, _ways_out(name, variable))


def _check_complete(data: Data, variable: Variable, name: str, rows: Rows, values: Array) -> None:
    missing = np.isnan(values) if np.issubdtype(values.dtype, np.floating) else np.less(values, 0)
    if missing.any():
        row = int(np.argwhere(missing)[0, 0])
        column, span = _where(data, name, missing[row])
        message = f"'{name}' is missing in {rows.place(row)}{column}"
        mask = "write missing: mask, and what is missing leaves the likelihood"
        hint = mask if variable.role == "observed" else "what is given must be there in every row"
        raise DataError.of("GV303", message, span, hint)


def _where(data: Data, name: str, elements: Array) -> tuple[str, Span | None]:
    """The column of the first element [event...] that is meant, where a variable has several, and where it is named."""
    columns = data.columns_of(name)
    if isinstance(data.columns[name], str) or len(columns) != np.size(elements):
        return "", data.span("columns", name)
    column = columns[int(np.flatnonzero(np.reshape(elements, -1))[0])]
    return f", column '{visible(column)}'", data.column_span(name, column)


def _ways_out(name: str, variable: Variable) -> str:
    if variable.family.support == "binary":
        return (
            "three ways out: 'soft: true' accepts values between 0 and 1, and claims no density;\n"
            "'distribution: continuous_bernoulli' is a density on them; or make the data binary, as in\n"
            f"data.transforms: {{{name}: binarise}}, or binarise_each_time; {{scale: [0, 255]}} brings bytes between 0 and 1"
        )
    return f"there are {variable.event[-1]} categories, from 0" if variable.family.support == "categories" else ""


def _taken(columns: Columns, rows: Index) -> dict[str, Array]:
    """Some rows of each column; rows in a stretch are not copied."""
    stretch = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    chosen = slice(rows[0], rows[-1] + 1) if stretch else rows
    return {name: value[chosen] for name, value in columns.items()}


def _tensors(columns: Columns) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in columns.items()}


def _count(table: Table) -> int:
    return len(next(iter(table.values())))


def _fingerprint(*tables: Columns) -> str:
    """SHA-256 of every value that was read, labels that are not revealed included."""
    digest = hashlib.sha256()
    for table in tables:
        for name in sorted(table):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(table[name]).data)
    return digest.hexdigest()
