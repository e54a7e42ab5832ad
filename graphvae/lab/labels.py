"""Which labels a training may see. They are drawn once, by their own seeds, and all others are taken away."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import DataError
from graphvae.compiler.spec import LabelDraw
from graphvae.lab.slots import Mask
from graphvae.lab.sources import Array, Columns


def draw_labels(
    draws: Sequence[LabelDraw],
    values: Columns,
    there: Mapping[str, Mask],
    discrete: Collection[str],
    holes: Collection[str] = (),
    names: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Mask]:
    """The rows that reveal each variable, by name; a variable that nothing reveals has no entry.

    Args:
        draws: The draws of the spec. Each has its own random stream, from its seed and the names it reveals, and chooses among
            the rows that have all of them.
        values: The values of the supervised variables in all rows.
        there: The rows that have a value of each; of a variable in plates, in some slot.
        discrete: Those with a single value out of a few, over which a draw may be balanced.
        holes: Those whose column has empty cells: what no draw names is revealed wherever it is there.
        names: Those of categories, as messages call them.

    Raises:
        DataError: If a draw asks for more rows than there are.
    """
    named = {name for draw in draws for name in draw.variables}
    masks = {name: there[name].copy() for name in holes if name not in named}
    for draw in draws:
        chosen = _draw(draw, values, there, discrete, names)
        for name in draw.variables:
            masks.setdefault(name, np.zeros(len(values[name]), dtype=bool))[chosen] = True
    return masks


def take_away(values: Array, mask: Mask | None) -> Array:
    """Copied values [row, ...], every one outside a mask, [row] or [row, plate...], absent: -1, or NaN for a number."""
    missing = -1 if np.issubdtype(values.dtype, np.integer) else np.nan
    hidden = np.ones(len(values), dtype=bool) if mask is None else ~mask
    remaining = values.copy()
    remaining[hidden] = missing
    return remaining


def _draw(
    draw: LabelDraw,
    values: Columns,
    there: Mapping[str, Mask],
    discrete: Collection[str],
    names: Mapping[str, Sequence[str]],
) -> NDArray[np.intp]:
    generator = np.random.default_rng([draw.seed, zlib.crc32(" ".join(draw.variables).encode())])
    rows = len(values[draw.variables[0]])
    order = generator.permutation(rows)
    order = order[np.all([there[name][order] for name in draw.variables], axis=0)]
    if draw.rows_per:
        [(name, count)] = draw.rows_per.items()
        classes = _classes(values[name], order)
        return _by_class(draw, classes, order, dict.fromkeys(np.unique(classes).tolist(), count), names.get(name))
    count = draw.rows if draw.rows is not None else round((draw.fraction or 0.0) * len(order))
    if count > len(order):
        having = " that have them" * (len(order) < rows)
        raise _too_few(draw, f"{count:,} labelled rows are asked for, and there are {len(order):,}{having}")
    if not draw.balanced:
        return order[:count]
    name = next(name for name in draw.variables if name in discrete)
    classes = _classes(values[name], order)
    return _by_class(draw, classes, order, _shares(count, np.unique(classes), generator), names.get(name))


def _classes(values: Array, order: NDArray[np.intp]) -> Array:
    return values[order].reshape(len(order))


def _shares(count: int, classes: Array, generator: np.random.Generator) -> dict[float, int]:
    """Equal shares; what does not divide goes to classes drawn at random, one each."""
    extra = set(generator.permutation(classes)[: count % len(classes)].tolist())
    return {value: count // len(classes) + (value in extra) for value in classes.tolist()}


def _by_class(
    draw: LabelDraw, shuffled: Array, order: NDArray[np.intp], counts: Mapping[float, int], names: Sequence[str] | None
) -> NDArray[np.intp]:
    chosen = []
    for value, count in counts.items():
        members = order[shuffled == value]
        if len(members) < count:
            called = f"'{names[int(value)]}'" if names else f"value {value:g}"
            raise _too_few(draw, f"{count} labelled rows of {called} are asked for, and there are {len(members)}")
        chosen.append(members[:count])
    return np.concatenate(chosen) if chosen else order[:0]


def _too_few(draw: LabelDraw, message: str) -> DataError:
    amount = next(key for key in ("rows", "fraction", "rows_per") if getattr(draw, key) is not None)
    return DataError.of("GV305", message, draw.span(amount))
