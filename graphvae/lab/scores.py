"""How well a model predicts the variables that it was taught by a few labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from graphvae.runtime import LogEvidence, Model, Variable

ELEMENTS = 20_000_000  # of the largest tensor in a chunk of rows
MIN_WIDTH = 512  # of a row of that tensor: a hidden layer may be wider than any variable

By = Literal["importance", "q"]


@dataclass(frozen=True)
class Score:
    """`error` (the share of wrong rows, of a switch or a category) or `rmse`, with its standard error over rows."""

    kind: Literal["error", "rmse"]
    value: float
    standard_error: float


class Prediction(NamedTuple):
    """The posterior mean of each variable that q infers, and log p of the rest where p was asked, [row, ...] on the CPU."""

    means: dict[str, Tensor]
    evidence: LogEvidence | None


def predict(
    model: Model, table: Mapping[str, Tensor], by: By, samples: int, generator: torch.Generator | None = None
) -> Prediction:
    """What a model says of a table when it sees none of its labels.

    Args:
        model: In evaluation mode or not; it is left as it was.
        table: Rows; their labels, if they are there, are not looked at.
        by: `q` for the recognition model's own answer, `importance` for the answer reweighted by p.
        samples: Samples a row.
        generator: Of the noise.
    """
    known = {name: value for name, value in table.items() if not model.variables[name].inferred}
    training = model.training
    model.eval()
    made = [model.posterior(chunk, samples, generator, by) for chunk in chunks(model, known, samples)]
    model.train(training)
    means = [model.posterior_mean(posterior) for posterior in made]
    evidence = [posterior.evidence for posterior in made if posterior.evidence]
    return Prediction(
        {name: torch.cat([mean[name] for mean in means]).cpu() for name in means[0]},
        LogEvidence(*(torch.cat(part).cpu() for part in zip(*evidence, strict=True))) if evidence else None,
    )


def errors(model: Model, predicted: Mapping[str, Tensor], table: Mapping[str, Tensor]) -> dict[str, Score]:
    """The score of every supervised variable, in the rows that have it: its posterior mean against its values in the table."""
    known = {name: _known(variable, table[name]) for name, variable in model.variables.items() if variable.role == "supervised"}
    return {name: _score(model, name, predicted[name][rows], table[name][rows]) for name, rows in known.items() if rows.any()}


def chunks(model: Model, table: Mapping[str, Tensor], samples: int) -> Iterator[dict[str, Tensor]]:
    """A table in pieces whose largest tensor, every cell and sample of every row, stays bounded."""
    device = next(model.parameters()).device
    cells = prod(_cells(variable) for variable in model.variables.values() if variable.enumerated)
    widest = max(MIN_WIDTH, *(prod(variable.event) for variable in model.variables.values()))
    size = max(1, ELEMENTS // (cells * samples * widest))
    rows = len(next(iter(table.values())))
    for start in range(0, rows, size):
        yield {name: value[start : start + size].to(device) for name, value in table.items()}


def _cells(variable: Variable) -> int:
    """How many values an enumerated variable has."""
    if variable.family.support == "categories":
        return int(variable.event[-1] ** prod(variable.event[:-1]))
    values = {"binary": 2, "counts to a total": variable.number + 1}.get(variable.family.support, variable.number)
    return int(values ** prod(variable.event))


def _known(variable: Variable, value: Tensor) -> Tensor:
    """The rows [row] in which a label is there."""
    encoded = variable.family.encode(value, variable.event, torch.float32)
    return ~encoded.reshape(len(encoded), -1).isnan().any(1)


def _score(model: Model, name: str, predicted: Tensor, truth: Tensor) -> Score:
    variable = model.variables[name]
    rows = len(truth)
    if variable.family.support in ("binary", "categories"):
        wrong = variable.family.decode(predicted) != truth
        share = wrong.reshape(rows, -1).any(1).double().mean().item()
        return Score("error", share, sqrt(share * (1 - share) / rows))
    squares = (predicted - truth).reshape(rows, -1).double().square().mean(1)
    rmse = squares.mean().sqrt().item()
    return Score("rmse", rmse, (squares.std() / sqrt(rows)).item() / (2 * rmse) if rmse else 0.0)
