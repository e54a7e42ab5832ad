"""Which rows train and which test. The verb is `split_rows`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graphvae.compiler.errors import DataError, did_you_mean
from graphvae.compiler.spec import Split
from graphvae.lab.sources import Array, Index, Rows


class Parts(NamedTuple):
    """The rows of each part, in their order; a row in neither is left out."""

    train: Index
    test: Index


def split_rows(split: Split, rows: Rows, column: str | None) -> Parts:
    """The rows that train, and the rows that test.

    Args:
        split: What the spec says.
        rows: The rows of a source that does not say it itself.
        column: The column that the split looks at, if it does.

    Raises:
        DataError: If there are not as many rows or groups as the split needs, or a row does not say where it belongs.
    """
    if split.blocks is not None:
        return _by_blocks(split, rows)
    if split.column is not None:
        assert column is not None
        return _by_column(split, rows, column)
    assert isinstance(split.test, float)
    assert split.seed is not None
    if column is None:
        return apart(np.arange(rows.count), split.test, split.seed)
    groups, group = np.unique(_group(rows, column, split), return_inverse=True)
    order = np.random.default_rng(split.seed).permutation(rows.count)
    if split.by is not None:
        return _whole_groups(split, groups, group)
    share = split.test
    tested = [members[: round(share * len(members))] for members in (order[group[order] == one] for one in range(len(groups)))]
    return _parts(rows.count, np.concatenate(tested))


def apart(rows: Index, amount: float, seed: int) -> Parts:
    """The rest, and a share (below one) or a number of rows drawn by the seed."""
    count = round(amount * len(rows)) if amount < 1 else int(amount)
    if count >= len(rows):
        raise DataError.of("GV307", f"{count:,} rows are to be set aside, and there are {len(rows):,}")
    order = np.random.default_rng(seed).permutation(len(rows))
    return Parts(rows[np.sort(order[count:])], rows[np.sort(order[:count])])


def _parts(count: int, tested: Index) -> Parts:
    test = np.zeros(count, dtype=bool)
    test[tested] = True
    return Parts(np.flatnonzero(~test), np.flatnonzero(test))


def _by_blocks(split: Split, rows: Rows) -> Parts:
    for index, (_, last) in enumerate(split.stretches):
        if last >= rows.count:
            message = f"this block ends with row {last:,}, and there are {rows.count:,} rows: the last is {rows.count - 1:,}"
            raise DataError.of("GV307", message, split.span("blocks", index))
    (first, last), (first_test, last_test) = split.stretches
    return Parts(np.arange(first, last + 1), np.arange(first_test, last_test + 1))


def _by_column(split: Split, rows: Rows, column: str) -> Parts:
    assert isinstance(split.test, tuple)
    values = _group(rows, column, split)
    found = sorted(set(values.tolist()))
    for index, value in enumerate(split.test):
        if value not in found:
            hint = did_you_mean(value, found, f"values of '{column}'")
            raise DataError.of("GV307", f"no row has '{value}' in '{column}'", split.span("test", index), hint)
    parts = _parts(rows.count, np.flatnonzero(np.isin(values, split.test)))
    if not len(parts.train):
        raise DataError.of("GV307", f"every row is for the test: '{column}' has no other value", split.span("test"))
    return parts


def _whole_groups(split: Split, groups: Array, group: Index) -> Parts:
    assert isinstance(split.test, float)
    assert split.seed is not None
    count = round(split.test * len(groups))
    if not 0 < count < len(groups):
        message = (
            f"{split.test:g} of {len(groups):,} groups is {count:,}: there would be no rows to {'train' if count else 'test'}"
        )
        raise DataError.of("GV307", message, split.span("by"))
    chosen = np.random.default_rng(split.seed).permutation(len(groups))[:count]
    return _parts(len(group), np.flatnonzero(np.isin(group, chosen)))


def _group(rows: Rows, column: str, split: Split) -> Array:
    """The cells of a column as texts, none of which may be empty."""
    key = next(key for key in ("column", "within", "by") if getattr(split, key) is not None)
    if column not in rows.columns:
        hint = did_you_mean(column, rows.names, "columns")
        raise DataError.of("GV302", f"there is no column '{column}' to split by", split.span(key), hint)
    values = rows.columns[column]
    if values.ndim != 1:
        raise DataError.of("GV307", f"'{column}' should have one value a row, to split by", split.span(key))
    texts = np.array([_text(value) for value in values.tolist()])
    if (empty := np.flatnonzero(texts == "")).size:
        raise DataError.of("GV307", f"'{column}' is empty in {rows.place(int(empty[0]))}", split.span(key))
    return texts


def _text(value: object) -> str:
    """A cell as text: a whole number without a point, and nothing for what is missing."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if np.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return str(value)
