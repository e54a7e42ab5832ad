"""The slots that the rows of data have of a plate: those below its count. The verb is `check_slots`.

What stands in a slot beyond the count means nothing, and a label there contradicts the count. A mask of a variable is [row,
plate...], or [row] where it stands in no plate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError
from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.lab.sources import Array, Columns, Rows

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Counted:
    """One plate of a variable: its count, and each slot's number and that of the active ones, which broadcast to a mask."""

    count: str
    slot: NDArray[np.intp]
    active: NDArray[np.float64]

    @property
    def beyond(self) -> Mask:
        """The slots that a count says are not active, if it is there."""
        return np.asarray(self.slot >= self.active)

    @property
    def closed(self) -> Mask:
        """The slots that can have no label: those that are not active, or may not be."""
        return self.beyond | np.isnan(self.active)


def cells(node: VariableNode, values: Array) -> Mask:
    """Where a whole value of a variable is there: neither -1, where integers are categories, nor NaN in any of its numbers."""
    missing = np.isnan(values) if np.issubdtype(values.dtype, np.floating) else np.less(values, 0)
    return np.asarray(~missing.reshape(*values.shape[: 1 + len(node.plates)], -1).any(-1))


def beyond(graph: ModelGraph, node: VariableNode, values: Columns, rows: int) -> Mask:
    """The slots that lie beyond a count among the values [row, ...] of all variables; what is not among them counts nothing."""
    found = np.zeros((rows, *graph.slots(node.plates)), dtype=bool)
    for counted in _counts(graph, node, values, rows):
        found |= counted.beyond
    return found


def closed(graph: ModelGraph, node: VariableNode, values: Columns, rows: int) -> Mask:
    """The slots that can have no label, since they lie beyond a count, or a count is not there."""
    found = np.zeros((rows, *graph.slots(node.plates)), dtype=bool)
    for counted in _counts(graph, node, values, rows):
        found |= counted.closed
    return found


def complete(graph: ModelGraph, node: VariableNode, values: Columns) -> Mask:
    """The rows [row] that have a whole value of a variable in every slot that does not lie beyond a count."""
    own = values[node.name]
    return np.asarray((cells(node, own) | beyond(graph, node, values, len(own))).reshape(len(own), -1).all(1))


def there(graph: ModelGraph, node: VariableNode, values: Columns) -> Mask:
    """The rows [row] that have a whole value of a variable, in plates in some slot, or in none because there is no slot."""
    own = values[node.name]
    return np.asarray(cells(node, own).reshape(len(own), -1).any(1) | complete(graph, node, values))


def counts_of(graph: ModelGraph, node: VariableNode) -> list[str]:
    """The variables that count the slots of a variable's plates."""
    return list(dict.fromkeys(graph.plates[plate].count for plate in node.plates if graph.plates[plate].count))


def check_slots(graph: ModelGraph, rows: Rows, values: Mapping[str, Array]) -> None:
    """A label in a slot stands beside its count, which leaves room for it.

    Raises:
        DataError: At the first that does not, with its row.
    """
    for name in values:
        node = graph.variables[name]
        for counted in _counts(graph, node, values, rows.count) if node.role == "supervised" else ():
            wrong = np.argwhere(cells(node, values[name]) & counted.closed)
            if wrong.size:
                raise _disagree(graph, node, rows, counted, tuple(wrong[0].tolist()))


def _counts(graph: ModelGraph, node: VariableNode, values: Columns, rows: int) -> Iterator[_Counted]:
    for axis, plate in enumerate(node.plates):
        if name := graph.plates[plate].count:
            count = graph.variables[name]
            own = tuple(slice(None) if other in count.plates else None for other in node.plates)
            shape = (rows, *graph.slots(count.plates))
            active = _numbers(count, values[name]) if name in values else np.full(shape, np.nan)
            slot = np.arange(graph.plates[plate].size).reshape(-1, *(1,) * (len(node.plates) - axis - 1))
            yield _Counted(name, slot, active[:, *own])


def _numbers(count: VariableNode, values: Array) -> NDArray[np.float64]:
    """How many slots each value of a count makes active, NaN where it is missing or no value at all."""
    if not np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float64)
    numbers = np.array(count.numbers, np.float64)
    codes = values.astype(np.intp)
    known = (codes >= 0) & (codes < len(numbers))
    return np.where(known, numbers[np.where(known, codes, 0)], np.nan)


def _disagree(graph: ModelGraph, node: VariableNode, rows: Rows, counted: _Counted, cell: tuple[int, ...]) -> DataError:
    data = graph.spec.data
    assert data is not None
    shape = (rows.count, *graph.slots(node.plates))
    active = np.broadcast_to(counted.active, shape)[cell]
    where = f"in slot {', '.join(map(str, cell[1:]))} of {rows.place(cell[0])}"
    why = f"and '{counted.count}' has none" if np.isnan(active) else f"and '{counted.count}' is {active:g}"
    hint = "slots count from 0: where the count is 2, the slots 0 and 1 may have labels, and none where it has no label"
    return DataError.of("GV306", f"'{node.name}' has a label {where}, {why}", data.span("columns", node.name), hint)
