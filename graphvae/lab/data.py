"""A spec's data as tensors: columns bound to variables, split, checked against their likelihoods, labels taken away."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphvae.compiler.errors import DataError
from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.compiler.spec import Data
from graphvae.lab.labels import draw_labels, take_away
from graphvae.lab.sources import Array, Columns, read_source
from graphvae.runtime import Variable

Table = Mapping[str, Tensor]


@dataclass(frozen=True)
class Dataset:
    """Tensors [row, ...] by variable. In `train` a label that no draw reveals is absent: -1, or NaN for a number.

    `revealed` counts the training rows that reveal each supervised variable; `labelled` are the rows that reveal any;
    `validation` rows, with their labels, are no part of `train`.
    """

    train: Table
    test: Table
    validation: Table | None
    revealed: Mapping[str, int]
    labelled: tuple[int, ...]
    fingerprint: str

    @property
    def rows(self) -> int:
        return len(next(iter(self.train.values())))

    def budget(self) -> list[str]:
        """A line for each supervised variable: how many labels the training may see."""
        lines = [f"{count:,} of {self.rows:,} rows reveal {name}" for name, count in self.revealed.items()]
        if self.validation:
            rows = len(next(iter(self.validation.values())))
            lines.append(f"{rows:,} further rows, with all their labels, are set aside for validation")
        return lines


def load_data(graph: ModelGraph, variables: Mapping[str, Variable], folder: Path | None = None) -> Dataset:
    """The dataset of a spec.

    Args:
        graph: The resolved spec; its `data` block says what to load.
        variables: The table of the compiled model, which knows each family's support.
        folder: Where the source's files are, for a source of files.

    Raises:
        DataError: For files that cannot be read, columns that are not there, values that the likelihood cannot have, and
            labels that cannot be drawn.
    """
    data = graph.spec.data
    if data is None:
        raise DataError.of("GV301", "the spec has no data to train on", graph.spec.key("model"), "write a 'data' block")
    rows = read_source(data.source, folder, data.span("source"))
    train = _bind(graph, data, rows.train)
    test = _bind(graph, data, rows.test) if rows.test is not None else None
    for columns in (train, test or {}):
        _check_support(data, variables, columns)
    if test is None:
        train, test = _split(train, data.split.test, data.split.seed)
    validation: Columns | None = None
    if data.validation:
        train, validation = _split(train, data.validation.rows, data.validation.seed)
    return _with_labels(graph, data, train, test, validation)


def _with_labels(graph: ModelGraph, data: Data, train: Columns, test: Columns, validation: Columns | None) -> Dataset:
    supervised = graph.named("supervised")
    rows = len(next(iter(train.values())))
    for name in supervised:
        _check_complete(graph.variables[name], train[name], data)
    masks = draw_labels(data.labels, {name: train[name] for name in supervised}, rows)
    shown = {name: take_away(value, masks.get(name)) if name in supervised else value for name, value in train.items()}
    any_label = np.any([np.zeros(rows, dtype=bool), *masks.values()], axis=0)
    return Dataset(
        train=_tensors(shown),
        test=_tensors(test),
        validation=_tensors(validation) if validation else None,
        revealed={name: int(masks[name].sum()) if name in masks else 0 for name in supervised},
        labelled=tuple(np.flatnonzero(any_label).tolist()),
        fingerprint=_fingerprint(train, test, validation or {}),
    )


def _check_complete(node: VariableNode, values: Array, data: Data) -> None:
    """Labels are drawn from rows that all have them."""
    missing = np.argwhere(np.isnan(values) if np.issubdtype(values.dtype, np.floating) else np.less(values, 0))
    if len(missing):
        row = int(missing[0, 0])
        message = f"'{node.name}' is missing in row {row}, and a draw of labels might have chosen it"
        hint = "leave such rows out: labels that are missing in the data itself are not built yet"
        raise DataError.of("GV303", message, data.span("columns", node.name), hint)


def read_table(graph: ModelGraph, variables: Mapping[str, Variable], path: Path) -> Table:
    """The columns of an `.npz` file as a table: a variable whose column is not there, or empty in a row, is unknown.

    Raises:
        DataError: For a file that cannot be read, or values that a likelihood cannot have.
    """
    data = graph.spec.data
    assert data is not None
    columns = read_source("npz", path, data.span("source")).train
    bound = _bind(graph, data, columns, partly=True)
    _check_support(data, variables, bound)
    return _tensors(bound)


def _bind(graph: ModelGraph, data: Data, columns: Columns, partly: bool = False) -> dict[str, Array]:
    """Variables in place of columns, each in the shape that the spec gives it; all of them, unless `partly` labels may lack."""
    bound = {}
    for name, column in data.columns.items():
        if partly and column not in columns and graph.variables[name].inferred:
            continue
        if column not in columns:
            hint = f"the columns of {data.source} are: {', '.join(columns)}"
            raise DataError.of("GV302", f"{data.source} has no column '{column}'", data.span("columns", name), hint)
        bound[name] = _shaped(graph.variables[name], columns[column], data)
    return bound


def _shaped(node: VariableNode, values: Array, data: Data) -> Array:
    simplex = node.family is not None and node.family.simplex
    event = node.event[:-1] if simplex else node.event
    if prod(values.shape[1:]) != prod(event):
        message = f"'{node.name}' has the shape {list(event)}, and the column the shape {list(values.shape[1:])}"
        raise DataError.of("GV304", message, data.span("columns", node.name))
    if not np.issubdtype(values.dtype, np.number) and values.dtype != np.bool_:
        message = f"'{node.name}' should be numbers, and the column holds {values.dtype}"
        raise DataError.of("GV304", message, data.span("columns", node.name), "write categories as integers from 0")
    if simplex and not np.issubdtype(values.dtype, np.integer):
        message = f"'{node.name}' is categorical, and the column holds {values.dtype}"
        raise DataError.of("GV304", message, data.span("columns", node.name), "categories are integers from 0")
    # A number is a float, even in a column of integers: its missing label must be NaN, since -1 would be a value.
    return values.reshape(len(values), *event).astype(np.int64 if simplex else np.float32)


def _check_support(data: Data, variables: Mapping[str, Variable], columns: Columns) -> None:
    for name, values in columns.items():
        variable = variables[name]
        tensor = torch.from_numpy(values)
        outside = ~variable.family.supported(tensor, variable.soft, variable.event, variable.number)
        if variable.role != "supervised" and not variable.masked:
            outside |= tensor.isnan()
        if outside.any():
            row, *_ = (int(index) for index in outside.nonzero()[0])
            value = tensor[row][outside[row]].flatten()[0].item()
            family = variable.family.__name__
            message = f"'{name}' is {value:g} in row {row}, outside the support of {family} ({variable.family.support})"
            raise DataError.of("GV303", message, data.span("columns", name), _ways_out(variable))


def _ways_out(variable: Variable) -> str:
    if variable.family.support == "binary":
        return (
            "three ways out: 'soft: true' accepts values between 0 and 1, and claims no density;\n"
            "'distribution: continuous_bernoulli' is a density on them; or make the data binary"
        )
    return f"there are {variable.event[-1]} categories, from 0" if variable.family.support == "categories" else ""


def _split(columns: Columns, share: float, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """The rest, and a share (below one) or a number of rows drawn by the seed."""
    rows = len(next(iter(columns.values())))
    count = round(share * rows) if share < 1 else int(share)
    if count >= rows:
        raise DataError.of("GV305", f"{count:,} rows are to be set aside, and there are {rows:,}")
    order: NDArray[np.intp] = np.random.default_rng(seed).permutation(rows)
    apart, rest = np.sort(order[:count]), np.sort(order[count:])
    return {name: value[rest] for name, value in columns.items()}, {name: value[apart] for name, value in columns.items()}


def _tensors(columns: Columns) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in columns.items()}


def _fingerprint(*tables: Columns) -> str:
    """SHA-256 of every value that was read, labels that are not revealed included."""
    digest = hashlib.sha256()
    for table in tables:
        for name in sorted(table):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(table[name]).data)
    return digest.hexdigest()
