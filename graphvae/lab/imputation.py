"""What is missing in a table, filled in by a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.lab import runs
from graphvae.lab.binding import Bound, named, unbound
from graphvae.lab.data import read_table
from graphvae.lab.labels import take_away
from graphvae.lab.runs import Run
from graphvae.lab.scores import chunks
from graphvae.lab.slots import beyond, counts_of
from graphvae.lab.sources import Array
from graphvae.lab.transforms import Coding, Floats, inverse
from graphvae.lab.writers import write_table
from graphvae.runtime import Imputation


@dataclass(frozen=True)
class Filled:
    """A table with nothing missing, in the data's own units.

    By column, `means` [row, ...] hold the posterior mean of what was missing, the probabilities of a category; `draws` [draw,
    row, ...] hold draws from the posterior, as data holds them; `table` [row, ...] holds the mean or what is nearest to it that
    the column may hold, and the most probable category. What was there stands unchanged in all three. A slot beyond its count,
    which was there, or was drawn, or is the most probable one, stays empty. `categories` are the names of a column's, or their
    values, in the order of their probabilities.
    """

    means: Mapping[str, Array]
    draws: Mapping[str, Array]
    table: Mapping[str, Array]
    categories: Mapping[str, tuple[str, ...] | tuple[int, ...]]

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

    >>> import graphvae
    >>> table = np.full((4, 64), 0.5)
    >>> table[:, 32:] = np.nan  # the lower half of four pictures
    >>> np.savez("halves.npz", image=table.reshape(4, 1, 8, 8))
    >>> run = graphvae.train("specs/digits.yaml", ["training.epochs=1", "variables.image.missing=mask"])
    >>> filled = impute(run, "halves.npz", samples=5, draws=2)
    >>> filled.means["image"].shape, bool(np.isnan(filled.means["image"]).any())
    ((4, 1, 8, 8), False)
    >>> filled.means["digit"].shape, filled.draws["digit"].shape
    ((4, 10), (2, 4))
    """
    opened = runs.open_run(run, plugin)
    model, graph = runs.load(opened), opened.compile().graph
    coding = Coding.of(opened.manifest["data"]["coding"])
    table, own = read_table(graph, model.variables, Path(data), coding)
    generator = torch.Generator().manual_seed(seed)
    found = [model.impute(chunk, samples, draws, generator) for chunk in chunks(model, table, samples)]
    joined = {
        name: Imputation(torch.cat([part[name].mean for part in found]), torch.cat([part[name].draws for part in found], 1))
        for name in found[0]
    }
    return _Filling(graph, coding, own, joined).filled()


@dataclass(frozen=True)
class _Filling:
    """What a model found for a table, on its way into the columns: `own` is what was there, `found` is by variable."""

    graph: ModelGraph
    coding: Coding
    own: Bound
    found: Mapping[str, Imputation]

    def filled(self) -> Filled:
        """Every variable in the columns that hold it."""
        filled = Filled({}, {}, {}, {})
        for node in map(self.graph.variables.__getitem__, self.found):
            mean, drawn, likely = self._in_units(node)
            filled = Filled(
                {**filled.means, **unbound(self.graph, node, mean)},
                {**filled.draws, **unbound(self.graph, node, drawn, leading=2)},
                {**filled.table, **unbound(self.graph, node, likely)},
                {**filled.categories, **self._categories(node)},
            )
        return filled

    def _in_units(self, node: VariableNode) -> list[Array]:
        """Mean, draws, and what the table holds, in the data's own units and names, with nothing in a slot beyond its count."""
        found = self.found[node.name]
        mean, likely = (self._emptied(node, each) for each in (found.mean.numpy(), _likely(node, found)))
        drawn = np.stack([self._emptied(node, each, draw) for draw, each in enumerate(found.draws.numpy())])
        if node.family and node.family.simplex:
            return [mean, named(drawn, self._names(node)), named(likely, self._names(node))]
        assert self.graph.spec.data is not None
        steps, standard = self.graph.spec.data.steps_of(node.name), self.coding.standards.get(node.name)
        back = [inverse(steps, cast(Floats, each), standard) for each in (mean, drawn, likely)]
        known = self.own.values.get(node.name)
        return [each if known is None else np.where(np.isnan(known), each, known) for each in back]

    def _emptied(self, node: VariableNode, values: Array, draw: int | None = None) -> Array:
        """Values [row, ...] of the table or of a draw, with nothing in a slot beyond its count."""
        counts = {}
        for count in map(self.graph.variables.__getitem__, counts_of(self.graph, node)):
            if count.evidence:
                counts[count.name] = self.own.values[count.name]
            elif count.name in self.found:
                found = self.found[count.name]
                counts[count.name] = _likely(count, found) if draw is None else found.draws[draw].numpy()
        return take_away(values, ~beyond(self.graph, node, counts, len(values)))

    def _names(self, node: VariableNode) -> tuple[str, ...] | tuple[int, ...] | None:
        return node.values or self.coding.categories.get(node.name)

    def _categories(self, node: VariableNode) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
        assert self.graph.spec.data is not None
        names = self._names(node)
        return dict.fromkeys(self.graph.spec.data.columns_of(node.name), names) if names else {}


def _likely(node: VariableNode, found: Imputation) -> Array:
    """The most probable category, or the value nearest to a mean that the family may have."""
    mean = found.mean.numpy()
    return mean.argmax(-1) if node.family and node.family.simplex else _nearest(node, mean)


def _nearest(node: VariableNode, mean: Floats) -> Floats:
    """The value nearest to a mean that the family may have."""
    support = node.family.support if node.family else ""
    if support in ("binary", "counts", "counts to a total"):
        return np.rint(mean)
    return np.rint(mean * (node.number - 1)) / (node.number - 1) if support == "levels" else mean
