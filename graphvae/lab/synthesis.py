"""Data of the declared types before there are any: draws from the prior of an untrained model. The verb is `synthesise`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphvae.compiler.errors import FlagError
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.spec import Data
from graphvae.lab.binding import named, split_columns, unbound
from graphvae.lab.models import new_model
from graphvae.lab.sources import BUILT_IN, Array, source_of
from graphvae.lab.transforms import inverse
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
        plugin: A Python file whose classes the spec names as kinds of networks.

    Returns:
        The columns.

    Raises:
        SpecError: For every mistake in the spec.
        FlagError: If the file exists, cannot be written, or is of another kind.
    """
    compilation, path = compile_file(spec, settings, plugin), Path(output)
    graph = compilation.graph
    seed = graph.spec.training.seeds.init
    torch.manual_seed(seed)
    model, generator = new_model(compilation).eval(), torch.Generator().manual_seed(seed)
    given = {name: _covariate(kind, rows, generator) for name, kind in model.variables.items() if kind.role == "given"}
    drawn = given | model.sample(rows, given, generator)
    data = graph.spec.data
    pictures = data is not None and data.source == "images"
    if data is not None and data.source not in BUILT_IN and not pictures and source_of(path) != data.source:
        hint = f"choose a name that ends in .{data.source}, or --set data.source={source_of(path)}"
        raise FlagError.of("GV501", f"{path} is no {data.source} file, which the spec reads", hint=hint)
    columns = _columns(graph, data, drawn, rows) if data else {name: drawn[name].numpy() for name in _known(graph)}
    (write_pictures if pictures else write_table)(columns, path)
    return columns


def _known(graph: ModelGraph) -> list[str]:
    return graph.named("observed", "supervised", "given")


def _columns(graph: ModelGraph, data: Data, drawn: dict[str, Tensor], rows: int) -> dict[str, Array]:
    """The columns that the spec reads, in the data's own units; what it splits by is made up."""
    made: dict[str, Array] = {}
    for name in _known(graph):
        values: Array = drawn[name].numpy()
        if np.issubdtype(values.dtype, np.integer):
            values = named(values, data.categories.get(name))
        else:
            values = inverse(data.steps_of(name), drawn[name].numpy())
        made |= unbound(graph.variables[name], data, values)
    for column in split_columns(data):
        if column not in made:
            made[column] = _groups(data, rows)
    return made


def _groups(data: Data, rows: int) -> Array:
    """A value for each row by which it can be split: every fifth is for the test, or they stand in groups."""
    if isinstance(data.split.test, tuple):
        others = next(word for word in ("train", "other") if word not in data.split.test)
        return np.array([data.split.test[0] if row % 5 == 4 else others for row in range(rows)])
    return np.arange(rows) % GROUPS


def _covariate(variable: Variable, rows: int, generator: torch.Generator) -> Tensor:
    """Values of a variable that has no prior, anywhere in the support of its family, as data holds them."""
    shape, support = (rows, *variable.event), variable.family.support
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
