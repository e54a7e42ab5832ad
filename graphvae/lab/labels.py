"""Which labels a training may see. They are drawn once, by their own seeds, and all others are taken away."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError
from graphvae.compiler.spec import LabelDraw
from graphvae.lab.sources import Array, Columns

Mask = NDArray[np.bool_]


def draw_labels(draws: Sequence[LabelDraw], values: Columns, rows: int) -> dict[str, Mask]:
    """The rows that reveal each variable, by name; a variable that no draw names has no entry.

    Args:
        draws: The draws of the spec. Each has its own random stream, from its seed and the names it reveals.
        values: The values of the supervised variables in all rows, which balancing and `rows_per` look at.
        rows: How many rows there are.

    Raises:
        DataError: If a draw asks for more rows than there are.
    """
    masks: dict[str, Mask] = {}
    for draw in draws:
        chosen = _draw(draw, values, rows)
        for name in draw.variables:
            masks.setdefault(name, np.zeros(rows, dtype=bool))[chosen] = True
    return masks


def take_away(values: Array, mask: Mask | None) -> Array:
    """A copy of the values with every one outside the mask absent: -1 for an integer, NaN for a number."""
    missing = -1 if np.issubdtype(values.dtype, np.integer) else np.nan
    hidden = np.ones(len(values), dtype=bool) if mask is None else ~mask
    remaining = values.copy()
    remaining[hidden] = missing
    return remaining


def _draw(draw: LabelDraw, values: Columns, rows: int) -> NDArray[np.intp]:
    generator = np.random.default_rng([draw.seed, zlib.crc32(" ".join(draw.variables).encode())])
    order = generator.permutation(rows)
    if draw.rows_per:
        [(name, count)] = draw.rows_per.items()
        classes = np.unique(values[name])
        return _by_class(draw, values[name][order], order, dict.fromkeys(classes.tolist(), count))
    count = draw.rows if draw.rows is not None else round((draw.fraction or 0.0) * rows)
    if count > rows:
        raise _too_few(draw, f"{count:,} labelled rows are asked for, and there are {rows:,}")
    if not draw.balanced:
        return order[:count]
    name = next(name for name in draw.variables if np.issubdtype(values[name].dtype, np.integer))
    return _by_class(draw, values[name][order], order, _shares(count, np.unique(values[name]), generator))


def _shares(count: int, classes: Array, generator: np.random.Generator) -> dict[float, int]:
    """Equal shares; what does not divide goes to classes drawn at random, one each."""
    extra = set(generator.permutation(classes)[: count % len(classes)].tolist())
    return {value: count // len(classes) + (value in extra) for value in classes.tolist()}


def _by_class(draw: LabelDraw, shuffled: Array, order: NDArray[np.intp], counts: Mapping[float, int]) -> NDArray[np.intp]:
    chosen = []
    for value, count in counts.items():
        members = order[shuffled == value]
        if len(members) < count:
            raise _too_few(draw, f"{count} labelled rows of value {value} are asked for, and there are {len(members)}")
        chosen.append(members[:count])
    return np.concatenate(chosen) if chosen else order[:0]


def _too_few(draw: LabelDraw, message: str) -> DataError:
    amount = next(key for key in ("rows", "fraction", "rows_per") if getattr(draw, key) is not None)
    return DataError.of("GV305", message, draw.span(amount))
