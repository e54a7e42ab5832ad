"""What is missing in a table, filled in by a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from graphvae.lab import runs
from graphvae.lab.binding import named, unbound
from graphvae.lab.data import read_table
from graphvae.lab.runs import Run
from graphvae.lab.scores import chunks
from graphvae.lab.sources import Array
from graphvae.lab.transforms import Coding, inverse
from graphvae.lab.writers import write_table


@dataclass(frozen=True)
class Filled:
    """A table with nothing missing, in the data's own units.

    By column, `means` [row, ...] hold the posterior mean of what was missing, the probabilities of a category; `draws` [draw,
    row, ...] hold draws from the posterior, as data holds them. What was there stands unchanged in both. `names` are those of
    the categories of a column, in the order of their probabilities.
    """

    means: Mapping[str, Array]
    draws: Mapping[str, Array]
    categories: Mapping[str, tuple[str, ...] | None]

    @property
    def table(self) -> dict[str, Array]:
        """A value for every cell: the mean of a number, the most probable of categories."""
        return {name: self._most_probable(name) if name in self.categories else mean for name, mean in self.means.items()}

    def _most_probable(self, name: str) -> Array:
        codes: Array = self.means[name].argmax(-1)
        return named(codes, self.categories[name])

    def save(self, path: Path) -> list[str]:
        """Write a file by its ending: the table as .csv or .parquet, `COLUMN.mean` and `COLUMN.draws` of each column as .npz.

        Returns:
            The names of what was written; `COLUMN.names` are those of categories, in the order of their probabilities.

        Raises:
            FlagError: If the file exists, since nothing is ever overwritten, or cannot be written.
        """
        arrays = self.table
        if path.suffix == ".npz":
            arrays = {f"{name}.mean": value for name, value in self.means.items()}
            arrays |= {f"{name}.draws": value for name, value in self.draws.items()}
            arrays |= {f"{name}.names": np.array(names) for name, names in self.categories.items() if names}
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
    data_block = graph.spec.data
    assert data_block is not None
    table, own = read_table(graph, model.variables, Path(data), coding)
    generator = torch.Generator().manual_seed(seed)
    found = [model.impute(chunk, samples, draws, generator) for chunk in chunks(model, table, samples)]
    means, drawn, categories = dict[str, Array](), dict[str, Array](), dict[str, tuple[str, ...] | None]()
    for name in found[0]:
        node, names = graph.variables[name], coding.categories.get(name)
        mean = torch.cat([part[name].mean for part in found]).numpy()
        values = torch.cat([part[name].draws for part in found], 1).numpy()
        if node.family and node.family.simplex:
            categories |= dict.fromkeys(data_block.columns_of(name), names)
            values = named(values, names)
        else:
            steps, standard = data_block.steps_of(name), coding.standards.get(name)
            mean, values = (_beside(own.values.get(name), inverse(steps, each, standard)) for each in (mean, values))
        means |= unbound(node, data_block, mean)
        drawn |= unbound(node, data_block, values, leading=2)
    return Filled(means, drawn, categories)


def _beside(own: Array | None, filled: Array) -> Array:
    """What is there as it is, and the rest filled in; [draw, row, event...] or [row, event...]."""
    return filled if own is None else np.where(np.isnan(own), filled, own)
