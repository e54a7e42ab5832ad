"""Values that a likelihood cannot have are refused, with their row and their column. The verb is `check_support`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from graphvae.compiler.errors import DataError, Span, visible
from graphvae.compiler.spec import Data
from graphvae.lab.sources import Array, Columns, Rows
from graphvae.runtime import Variable


def check_finite(data: Data, rows: Rows, columns: Columns) -> None:
    """No family has an infinite value, and a transform of one would make others meaningless."""
    for name, values in columns.items():
        if (infinite := np.argwhere(np.isinf(values))).size:
            row = int(infinite[0, 0])
            column, span = _where(data, name, np.isinf(values[row]))
            value = values[tuple(infinite[0])]
            raise DataError.of("GV303", f"'{name}' is {value:g} in {rows.place(row)}{column}: no value may be infinite", span)


def check_support(data: Data, variables: Mapping[str, Variable], rows: Rows, columns: Columns) -> None:
    """The model's numbers [row, ...] lie in the support of their likelihoods, and are there where they must be.

    Raises:
        DataError: At the first that is not, with its row.
    """
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
