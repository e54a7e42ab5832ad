"""What is missing in a table, filled in by a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.lab import runs
from graphvae.lab.binding import named, unbound
from graphvae.lab.data import read_table
from graphvae.lab.runs import Run
from graphvae.lab.scores import chunks
from graphvae.lab.sources import Array
from graphvae.lab.transforms import Coding, Floats, inverse
from graphvae.lab.writers import write_table
from graphvae.runtime import Imputation


@dataclass(frozen=True)
class Filled:
    """A table with nothing missing, in the data's own units.

    By column, `means` [row, ...] hold the posterior mean of what was missing, the probabilities of a category; `draws` [draw,
    row, ...] hold draws from the posterior, as data holds them; `table` [row, ...] holds the mean or what is nearest to it that
    the column may hold, and the most probable category. What was there stands unchanged in all three. `categories` are the
    names of a column's, in the order of their probabilities.
    """

    means: Mapping[str, Array]
    draws: Mapping[str, Array]
    table: Mapping[str, Array]
    categories: Mapping[str, tuple[str, ...]]

    def save(self, path: Path) -> list[str]:
        """Write a file by its ending: the table as .csv or .parquet, `COLUMN.mean` and `COLUMN.draws` of each column as .npz.

        Returns:
            The names of what was written; `COLUMN.names` are those of categories, in the order of their probabilities.

        Raises:
            FlagError: If the file exists, since nothing is ever overwritten, or cannot be written.
        """
        arrays = dict(self.table)
        if path.suffix == ".npz":
            arrays = {f"{name}.mean": value for name, value in self.means.items()}
            arrays |= {f"{name}.draws": value for name, value in self.draws.items()}
            arrays |= {f"{name}.names": np.array(names) for name, names in self.categories.items()}
        write_table(arrays, path)
        return list(arrays)


def impute(
    run: str | Path | Run,
    data: str | Path,
    samples: int = 100,
    draws: int = 10,
    seed: int = 0,
    plugin: str | Path | None = None,
) -> Filled:
    """Fill in what is missing in a table: cells of variables with `missing: mask`, and labels.

    Args:
        run: The run or its folder.
        data: A file or a folder with the columns that the run's spec names, of any source; labels may be left out.
        samples: Samples of the latent variables a row, weighted by importance.
        draws: Draws of what is missing.
        seed: Of everything that is drawn.
        plugin: The plugin that the run was trained with, if any.

    Raises:
        RunError: If there is no such run, no checkpoint in it yet, or another plugin.
        DataError: For a file that is not what the spec says.
    """
    opened = runs.open_run(run, plugin)
    model, graph = runs.load(opened), opened.compile().graph
    coding = Coding.of(opened.manifest["data"]["coding"])
    table, own = read_table(graph, model.variables, Path(data), coding)
    generator = torch.Generator().manual_seed(seed)
    found = [model.impute(chunk, samples, draws, generator) for chunk in chunks(model, table, samples)]
    filled = Filled({}, {}, {}, {})
    for name in found[0]:
        joined = Imputation(torch.cat([part[name].mean for part in found]), torch.cat([part[name].draws for part in found], 1))
        filled = _with(filled, graph.variables[name], graph, coding, own.values.get(name), joined)
    return filled


def _with(
    filled: Filled, node: VariableNode, graph: ModelGraph, coding: Coding, own: Array | None, found: Imputation
) -> Filled:
    """One more variable, in the columns that hold it."""
    data, names = graph.spec.data, coding.categories.get(node.name)
    assert data is not None
    mean, drawn = found.mean.numpy(), found.draws.numpy()
    if node.family and node.family.simplex:
        drawn, likely = named(drawn, names), named(mean.argmax(-1), names)
    else:
        numbers = (mean, drawn, _nearest(node, mean))
        back = [inverse(data.steps_of(node.name), each, coding.standards.get(node.name)) for each in numbers]
        mean, drawn, likely = (each if own is None else np.where(np.isnan(own), each, own) for each in back)
    return Filled(
        {**filled.means, **unbound(node, data, mean)},
        {**filled.draws, **unbound(node, data, drawn, leading=2)},
        {**filled.table, **unbound(node, data, likely)},
        {**filled.categories, **(dict.fromkeys(data.columns_of(node.name), names) if names else {})},
    )


def _nearest(node: VariableNode, mean: Floats) -> Floats:
    """The value nearest to a mean that the family may have."""
    support = node.family.support if node.family else ""
    if support in ("binary", "counts", "counts to a total"):
        return np.rint(mean)
    return np.rint(mean * (node.number - 1)) / (node.number - 1) if support == "levels" else mean
