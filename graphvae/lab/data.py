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
from graphvae.compiler.errors import DataError, visible
from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.compiler.spec import Data, Spec
from graphvae.lab.binding import Bound, bind, split_columns, wanted
from graphvae.lab.labels import draw_labels, take_away
from graphvae.lab.slots import Mask, beyond, check_slots, complete, counts_of, there
from graphvae.lab.sources import Array, Columns, Index, Rows, read_source, source_of
from graphvae.lab.splits import apart, split_rows
from graphvae.lab.support import check_finite, check_support
from graphvae.lab.transforms import Coding, Floats, Standard, Steps, forward, inverse, rescales
from graphvae.runtime import Variable

Table = Mapping[str, Tensor]


@dataclass(frozen=True)
class Dataset:
    """Tensors [row, plate..., ...] by variable. In `train` a label that no draw reveals is absent: -1, or NaN for a number.

    `revealed` counts the training rows that reveal each supervised variable; `labelled` are the rows that reveal any;
    `validation` rows, with their labels, are no part of `train`, and `whole` says whether they have them all; `left_out` rows
    are in no part. `coding` says what the numbers mean, and `steps` are the transforms that made them.
    """

    train: Table
    test: Table
    validation: Table | None
    revealed: Mapping[str, int]
    labelled: tuple[int, ...]
    whole: bool
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
            labels = "all their labels" if self.whole else "the labels that they have"
            lines.append(f"{_count(self.validation):,} further rows, with {labels}, are set aside for validation")
        if self.left_out:
            lines.append(f"{self.left_out:,} rows stand in no block and are left out")
        return lines

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
    rows = read_source(data.source, source_path(graph.spec, folder), wanted(graph), span, data.scenes)
    bound = bind(graph, rows, coding.categories if coding else None)
    check_finite(data, rows, bound.values)
    train, validation, test = _parts(data, rows)
    masks = _masks(graph, data, bound, train)
    coding = coding or Coding(bound.categories, _standards(graph, data, bound, train, masks))
    numbers, probabilities = _numbers(data, bound, coding), _probabilities(data, bound)
    for columns in (numbers, probabilities):
        _fill_beyond(graph, variables, bound, columns)
        check_support(data, variables, rows, columns)
    check_slots(graph, rows, bound.values)
    _check_together(graph, rows, train, masks)
    trained, tested = _taken(numbers | probabilities, train), _taken(numbers, test)
    checked = _taken(numbers, validation) if validation is not None else {}
    shown = {name: take_away(trained[name], masks.get(name)) for name in graph.named("supervised")}
    any_label = np.any([np.zeros(len(train), dtype=bool), *masks.values()], axis=0)
    return Dataset(
        train=_tensors(trained | shown),
        test=_tensors(tested),
        validation=_tensors(checked) if checked else None,
        revealed={name: int(masks[name].sum()) if name in masks else 0 for name in graph.named("supervised")},
        labelled=tuple(np.flatnonzero(any_label).tolist()),
        whole=all(complete(graph, graph.variables[name], checked).all() for name in graph.named("supervised") if checked),
        left_out=rows.count - sum(len(part) for part in (train, validation, test) if part is not None),
        coding=coding,
        steps={name: data.steps_of(name) for name in data.transforms},
        fingerprint=_fingerprint(trained, tested, checked),
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
    check_finite(data, rows, bound.values)
    numbers = _numbers(data, bound, coding)
    _fill_beyond(graph, variables, bound, numbers)
    check_support(data, variables, rows, numbers)
    check_slots(graph, rows, bound.values)
    return Reading(_tensors(numbers), bound)


def _parts(data: Data, rows: Rows) -> tuple[Index, Index | None, Index]:
    """The rows that train, those set aside for validation, and those that test."""
    if rows.test is None:
        train, test = split_rows(data.split, rows, next(iter(split_columns(data)), None))
    else:
        train, test = np.setdiff1d(np.arange(rows.count), rows.test), rows.test
    if data.validation is None:
        return train, None, test
    train, validation = apart(train, data.validation.rows, data.validation.seed)
    return train, validation, test


def _masks(graph: ModelGraph, data: Data, bound: Bound, train: Index) -> dict[str, Mask]:
    """The training rows that reveal each supervised variable, of one in plates in all slots that have a label."""
    supervised = [graph.variables[name] for name in graph.named("supervised")]
    discrete = [node.name for node in supervised if has_classes(graph, node.name)]
    holes = [node.name for node in supervised if not complete(graph, node, bound.values).all()]
    values = {node.name: bound.values[node.name][train] for node in supervised}
    some = {node.name: there(graph, node, bound.values)[train] for node in supervised}
    return draw_labels(data.labels, values, some, discrete, holes, bound.categories)


def _check_together(graph: ModelGraph, rows: Rows, train: Index, masks: Mapping[str, Mask]) -> None:
    """A row that reveals labels in slots reveals their count."""
    assert graph.spec.data is not None
    for name in masks:
        for count in counts_of(graph, graph.variables[name]):
            alone = masks[name] & ~masks.get(count, np.zeros(len(train), dtype=bool))
            if graph.variables[count].role == "supervised" and alone.any():
                place = rows.place(int(train[np.flatnonzero(alone)[0]]))
                message = f"{place} is to reveal '{name}', and not '{count}', which counts its slots"
                hint = f"write one draw for both: {{variables: [{count}, {name}], ...}}"
                raise DataError.of("GV306", message, graph.spec.data.span("labels"), hint)


def _fill_beyond(graph: ModelGraph, variables: Mapping[str, Variable], bound: Bound, columns: dict[str, Array]) -> None:
    """A value of the support in every slot of an observed variable that lies beyond a count known in every row.

    Nothing depends on it; what was there may have been no number at all, and that would spoil a gradient.
    """
    counts = {name: values for name, values in bound.values.items() if graph.variables[name].evidence}
    for name, values in columns.items():
        node = graph.variables[name]
        if node.evidence and not node.masked:
            outside = beyond(graph, node, counts, len(values))
            if outside.any():
                family = variables[name].family
                filler = 1 / node.event[-1] if family.support == "simplex" else family.inside
                columns[name] = np.where(_trailing(outside, values), filler, values).astype(values.dtype)


def _trailing(mask: Mask, values: Array) -> Mask:
    """A mask [row, plate...] for values [row, plate..., event...]."""
    return mask.reshape(*mask.shape, *(1,) * (values.ndim - mask.ndim))


def _standards(graph: ModelGraph, data: Data, bound: Bound, train: Index, masks: Mapping[str, Mask]) -> dict[str, Standard]:
    """Mean and deviation of what is standardised, in the training rows, of a label in those that reveal it."""
    found = {}
    for name in data.transforms:
        steps = data.steps_of(name)
        if "standardise" in steps:
            seen = _seen(graph, graph.variables[name], bound, train)
            if graph.variables[name].role == "supervised":
                seen = seen[masks[name]] if name in masks else seen[:0]
            seen = seen.reshape(-1, *seen.shape[1 + len(graph.variables[name].plates) :])
            found[name] = _standard(data, name, forward(name, steps[: steps.index("standardise")], cast(Floats, seen)))
    return found


def _seen(graph: ModelGraph, node: VariableNode, bound: Bound, train: Index) -> Array:
    """The training rows of a variable, with nothing in its slots beyond a count."""
    values = bound.values[node.name]
    outside = beyond(graph, node, bound.values, len(values))
    return np.where(_trailing(outside, values), np.nan, values)[train] if outside.any() else values[train]


def _standard(data: Data, name: str, seen: Floats) -> Standard:
    """Mean and deviation [event...] of rows, some of which may be missing."""
    low = np.min(np.where(np.isnan(seen), np.inf, seen), 0, initial=np.inf)
    high = np.max(np.where(np.isnan(seen), -np.inf, seen), 0, initial=-np.inf)
    if (same := np.flatnonzero(low >= high)).size:
        which = _element(data, name, int(same[0]), np.size(low))
        message = f"{which} has no two different values in the training rows that show it, and cannot be standardised"
        raise DataError.of("GV308", message, data.span("transforms", name), "leave it out, or write {scale: [LOW, HIGH]}")
    with np.errstate(over="ignore", invalid="ignore"):
        standard = Standard(np.nanmean(seen, 0, dtype=np.float64), np.nanstd(seen, 0, dtype=np.float64))
    if (broken := np.flatnonzero(~np.isfinite(standard.mean + standard.deviation))).size:
        which = _element(data, name, int(broken[0]), np.size(low))
        raise DataError.of("GV308", f"{which} has numbers too large to be standardised", data.span("transforms", name))
    return standard


def _element(data: Data, name: str, index: int, size: int) -> str:
    """What a message calls one number of a variable: by its column, if it has its own."""
    columns = data.columns[name]
    if isinstance(columns, tuple) and len(columns) == size:
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
