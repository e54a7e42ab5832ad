"""What the columns of a person's own data look like. The verb is `profile`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler.errors import visible
from graphvae.compiler.spec import Split
from graphvae.lab.binding import WORDS
from graphvae.lab.sources import Array, Index, Want, read_source
from graphvae.lab.splits import split_rows

FEW = 10  # different whole numbers, or fewer, are categories
SOME = 30  # different texts, or fewer, are categories
LABEL = 0.2  # of the cells of a column with few classes are empty, or more: it is a label
COUNT = 100  # is the largest number that is still a plain count

Kind = Literal["categories", "switch", "count", "number", "array", "picture"]


@dataclass(frozen=True)
class Column:
    """What a column looks like.

    `empty` is the share of its cells that are. `names` are those of its classes, where they are no whole numbers from 0;
    `shape` is that of an array, which has a `family` and perhaps a `transform`.
    """

    name: str
    kind: Kind
    empty: float = 0.0
    classes: int = 0
    names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    family: str = ""
    transform: str = ""

    @property
    def label(self) -> bool:
        """Whether it has few classes and is often empty."""
        return self.kind in ("categories", "switch") and self.empty >= LABEL


@dataclass(frozen=True)
class Profile:
    """How many rows there are, what each column looks like that varies, and which others are left out, and why."""

    rows: int
    columns: tuple[Column, ...]
    left_out: tuple[str, ...]


def profile(path: Path, source: str) -> Profile:
    """What there is in a table or a folder of pictures, whose pixels are not read.

    Raises:
        DataError: If it cannot be read.
    """
    pictures = source == "images"
    wanted = {name: Want() for name in read_source(source, path, {}, None).names if name != "image"} if pictures else None
    rows = read_source(source, path, wanted, None)
    columns, left_out = ([_picture(path, str(rows.columns["file"][0]))] if pictures else []), list[str]()
    train = split_rows(Split(), rows, None).train
    for name, values in rows.columns.items():
        if pictures and name == "file":
            continue
        found = _column(name, values, train)
        if isinstance(found, Column):
            columns.append(found)
        else:
            left_out.append(f"{visible(name)}, {found}")
    return Profile(rows.count, tuple(columns), tuple(left_out))


def _picture(folder: Path, file: str) -> Column:
    from graphvae.lab.images import look

    return Column("image", "picture", shape=look(folder / file).shape, family="continuous_bernoulli")


def _column(name: str, values: Array, train: Index) -> Column | str:
    """What a column looks like, or why it is left out."""
    if values.dtype.kind in "OU":
        return _texts(name, values) if values.ndim == 1 else "which holds texts in several columns"
    if values.dtype.kind not in "biuf":
        return f"which holds {values.dtype}"
    if prod(values.shape[1:]) == 1:
        return _numbers(name, values.reshape(-1), train)
    return _array(name, values, train)


def _texts(name: str, values: Array) -> Column | str:
    texts = values.astype(str)
    there = texts[texts != ""]
    names = tuple(sorted(set(there.tolist())))
    empty = float((texts == "").mean())
    if len(names) < 2:
        return f"which is '{visible(names[0])}' wherever it is not empty" if names else "which is empty"
    if {text.casefold() for text in names} <= {*WORDS, "0", "1"}:
        return Column(name, "switch", empty)
    if len(names) > SOME or len(names) > len(there) / 2:
        return f"which has {len(names):,} different texts"
    return Column(name, "categories", empty, len(names), names)


def _numbers(name: str, column: Array, train: Index) -> Column | str:
    """Numbers: classes, plain counts, or anything."""
    values = column.astype(np.float64)
    found = np.unique(values[~np.isnan(values)])
    whole = bool((found == np.floor(found)).all())
    if column.dtype.kind == "i" and 2 < len(found) <= FEW + 1 and found[0] == -1:  # which is then a missing category
        values, found = np.where(values == -1, np.nan, values), found[1:]
    there, empty = values[~np.isnan(values)], float(np.isnan(values).mean())
    if len(np.unique(values[train][~np.isnan(values[train])])) < 2:
        return "which does not vary in the training rows"
    if not np.isfinite(there).all():
        return "which has infinite numbers"
    if found.tolist() == [0, 1]:
        return Column(name, "switch", empty)
    if whole and len(found) <= FEW and len(found) <= len(there) / 2:
        named = found.tolist() != list(range(len(found)))
        return Column(name, "categories", empty, len(found), tuple(f"{number:.0f}" for number in found) if named else ())
    even = there.mean() / 2 <= there.var() <= there.mean() * 2
    plain = whole and found[0] >= 0 and found[-1] <= COUNT and even
    return Column(name, "count" if plain else "number", empty)


def _array(name: str, values: Array, train: Index) -> Column | str:
    """Several numbers a row: switches, numbers between 0 and 1, bytes, or anything."""
    own = values.shape[1:]
    shape = (own[2], *own[:2]) if len(own) == 3 and own[2] in (1, 3) else (1, *own) if len(own) == 2 else own
    floats: NDArray[Any] = values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64, copy=False)
    if not np.isfinite(floats[~np.isnan(floats)]).all() or np.isnan(floats).all():
        return "which has infinite numbers, or none"
    low, high = float(np.nanmin(floats)), float(np.nanmax(floats))
    made = Column(name, "array", float(np.isnan(floats).mean()), shape=shape)
    if low == high:
        return f"which is {low:g} everywhere"
    if set(np.unique(floats[~np.isnan(floats)]).tolist()) == {0.0, 1.0}:
        return replace(made, family="bernoulli")
    if values.dtype == np.uint8 or (low >= 0 and high <= 1):
        transform = "{scale: [0, 255]}" if values.dtype == np.uint8 else ""
        return replace(made, family="continuous_bernoulli", transform=transform)
    varied = all(len(np.unique(each[~np.isnan(each)])) > 1 for each in floats[train].reshape(len(train), -1).T)
    return replace(made, family="normal", transform="standardise" if varied else f"{{scale: [{low:g}, {high:g}]}}")
