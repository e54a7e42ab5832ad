"""What is missing in a table, filled in by a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from graphvae.compiler.errors import FlagError
from graphvae.lab import runs
from graphvae.lab.data import read_table
from graphvae.lab.runs import Run
from graphvae.lab.scores import chunks
from graphvae.lab.sources import Array
from graphvae.runtime import Imputation


@dataclass(frozen=True)
class Filled:
    """A table with nothing missing.

    By column, `means` [row, ...] hold the posterior mean of what was missing, the probabilities of a category; `draws` [draw,
    row, ...] hold draws from the posterior, as data holds them. What was there stands unchanged in both.
    """

    means: Mapping[str, Array]
    draws: Mapping[str, Array]

    def save(self, path: Path) -> None:
        """Write an `.npz` file: `COLUMN.mean` and `COLUMN.draws` of every column.

        Raises:
            FlagError: If the file exists, since nothing is ever overwritten, or cannot be written.
        """
        arrays = {f"{name}.mean": value for name, value in self.means.items()}
        arrays |= {f"{name}.draws": value for name, value in self.draws.items()}
        try:
            with path.open("xb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        except FileExistsError:
            raise FlagError.of("GV501", f"{path} exists", hint="choose another name") from None
        except OSError as error:
            raise FlagError.of("GV501", f"cannot write {path}: {error.strerror}") from None


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
        data: An `.npz` file with the columns that the run's spec names; labels may be left out.
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
    table = read_table(graph, model.variables, Path(data))
    generator = torch.Generator().manual_seed(seed)
    found = [model.impute(chunk, samples, draws, generator) for chunk in chunks(model, table, samples)]
    joined = {
        name: Imputation(torch.cat([part[name].mean for part in found]), torch.cat([part[name].draws for part in found], 1))
        for name in found[0]
    }
    columns = graph.spec.data.columns if graph.spec.data else {}
    return Filled(
        {columns[name]: filled.mean.numpy() for name, filled in joined.items()},
        {columns[name]: filled.draws.numpy() for name, filled in joined.items()},
    )
