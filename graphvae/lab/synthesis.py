"""Data of the declared types before there are any: draws from the prior of an untrained model. The verb is `synthesise`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from graphvae.compiler.errors import FlagError
from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.spec import Data, Split
from graphvae.lab.binding import named, split_columns, unbound
from graphvae.lab.labels import take_away
from graphvae.lab.models import new_model
from graphvae.lab.slots import beyond, closed
from graphvae.lab.sources import BUILT_IN, Array, Columns, source_of
from graphvae.lab.transforms import Floats, inverse
from graphvae.lab.writers import write_pictures, write_table
from graphvae.runtime import Variable

GROUPS = 10  # of rows, where a split goes by groups


def synthesise(
    spec: str | Path,
    output: str | Path,
    rows: int = 1000,
    settings: Sequence[str] = (),
    plugin: str | Path | None = None,
) -> dict[str, Array]:
    """Write rows that a spec can be tried on, drawn from p with the weights that its training begins with.

    Args:
        spec: The spec's file.
        output: The new file, of the kind that the spec's source reads; a folder for a source of images.
        rows: How many.
        settings: `KEY=VALUE` settings laid over the spec.
        plugin: A Python file whose classes the spec names as kinds of networks, and whose functions its expressions call.

    Returns:
        The columns.

    Raises:
        SpecError: For every mistake in the spec.
        FlagError: If the file exists, cannot be written, or is of another kind.
    """
    compilation, path = compile_file(spec, settings, plugin), Path(output)
    graph = compilation.graph
    _check_kind(graph.spec.data, path)
    torch.manual_seed(graph.spec.training.seeds.init)
    model = new_model(compilation).eval()
    generator = torch.Generator().manual_seed(graph.spec.training.seeds.init)
    given = {
        name: _covariate(kind, (rows, *graph.shape(graph.variables[name])), generator)
        for name, kind in model.variables.items()
        if kind.role == "given"
    }
    drawn = given | model.sample(rows, given, generator)
    values = dict[str, Array]()
    for name in graph.named("observed", "supervised", "given"):
        share = _share_of_holes(graph.variables[name], graph.spec.data)
        values[name] = _with_holes(graph, graph.variables[name], drawn[name], share, generator).numpy()
    columns = dict[str, Array]()
    for name in values:
        columns |= _columns(graph, graph.variables[name], _without_empty_slots(graph, graph.variables[name], values))
    for column in split_columns(graph.spec.data) if graph.spec.data else []:
        if graph.spec.data and column not in columns:
            columns[column] = _groups(graph.spec.data.split, rows)
    (write_pictures if _of_pictures(graph.spec.data) else write_table)(columns, path)
    return columns


def _of_pictures(data: Data | None) -> bool:
    return data is not None and data.source == "images"


def _check_kind(data: Data | None, path: Path) -> None:
    """The file is one that the spec's source reads, unless that has no files of a person's own."""
    if data is None or data.source in BUILT_IN:
        return
    if data.source == "images":
        if "image" not in data.columns.values():
            raise FlagError.of("GV501", "the spec reads no column 'image': there is nothing to draw", data.key("columns"))
    elif source_of(path) != data.source:
        hint = f"choose a name that ends in .{data.source}, or --set data.source={source_of(path)}"
        raise FlagError.of("GV501", f"the spec reads a {data.source} file, and {path} is none", hint=hint)


def _share_of_holes(node: VariableNode, data: Data | None) -> float:
    """The share of cells to leave empty: of labels that no draw would hide, and of what may be missing."""
    drawn = {name for draw in data.labels for name in draw.variables} if data else set()
    return 0.5 if node.role == "supervised" and node.name not in drawn else 0.1 if node.masked else 0.0


def _with_holes(graph: ModelGraph, node: VariableNode, values: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Values as data holds them, -1 or NaN in a random share of the rows of a label, or of the elements of what is observed."""
    elements = () if node.role == "supervised" else (*graph.slots(node.plates), *node.elements)
    hidden = torch.rand((len(values), *elements), generator=generator) < share
    missing = torch.nan if values.is_floating_point() else -1
    return values.masked_fill(hidden.reshape(*hidden.shape, *(1,) * (values.dim() - hidden.dim())), missing)


def _without_empty_slots(graph: ModelGraph, node: VariableNode, values: Columns) -> Array:
    """Values as data holds them, -1 or NaN in slots that the count leaves out, and of a label where its count is missing."""
    own = values[node.name]
    if node.role == "supervised":
        empty = closed(graph, node, values, len(own))
    else:
        counts = {name: each for name, each in values.items() if graph.variables[name].evidence}
        empty = beyond(graph, node, counts, len(own))
    return take_away(own, ~empty)


def _columns(graph: ModelGraph, node: VariableNode, values: Array) -> dict[str, Array]:
    """A variable in the columns that the spec reads, in the data's own units and names."""
    data = graph.spec.data
    if data is None:
        return {node.name: values}
    if np.issubdtype(values.dtype, np.floating):
        return unbound(graph, node, inverse(data.steps_of(node.name), cast(Floats, values)))
    return unbound(graph, node, named(values, node.values or data.categories.get(node.name)))


def _groups(split: Split, rows: int) -> Array:
    """A value for each row by which it can be split: every fifth is for the test, or they stand in groups."""
    if isinstance(split.test, tuple):
        others = "train" if "train" not in split.test else max(split.test, key=len) + "_"
        return np.array([split.test[0] if row % 5 == 4 else others for row in range(rows)])
    return np.arange(rows) % GROUPS


def _covariate(variable: Variable, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Values [row, plate..., event...] of a variable that has no prior, anywhere in its support, as data holds them."""
    support = variable.family.support
    uniform = torch.rand(shape, generator=generator)
    by_support: dict[str, Callable[[], Tensor]] = {
        "real": lambda: torch.randn(shape, generator=generator),
        "positive": lambda: -torch.log1p(-uniform) + 1e-3,
        "unit interval": lambda: uniform,
        "angle": lambda: (2 * uniform - 1) * pi,
        "simplex": lambda: torch.log1p(-uniform) / torch.log1p(-uniform).sum(-1, keepdim=True),
        "binary": lambda: uniform.round(),
        "categories": lambda: uniform.argmax(-1),
        "counts": lambda: (5 * uniform).floor(),
        "counts to a total": lambda: (variable.number * uniform).round(),
        "levels": lambda: ((variable.number - 1) * uniform).round() / (variable.number - 1),
    }
    return by_support[support]()
