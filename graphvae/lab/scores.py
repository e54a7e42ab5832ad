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
    """`error` (the share of wrong rows: of a switch, a category, a count of slots) or `rmse`, with its standard error.

    Of a variable in plates, every slot that has a label counts, and those of one row are not taken to be independent.
    """

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
    """The score of every supervised variable, where the table has it: its posterior mean against its values there."""
    labels = {name: variable for name, variable in model.variables.items() if variable.role == "supervised"}
    known = {name: _known(variable, table[name]) for name, variable in labels.items()}
    return {name: _score(model, name, predicted[name], table[name], there) for name, there in known.items() if there.any()}


def chunks(model: Model, table: Mapping[str, Tensor], samples: int) -> Iterator[dict[str, Tensor]]:
    """A table in pieces whose largest tensor, every cell and sample of every row, stays bounded."""
    device = next(model.parameters()).device
    cells = prod(_cells(variable) for variable in model.variables.values() if variable.enumerated)
    widest = max(MIN_WIDTH, *(prod(variable.shape) for variable in model.variables.values()))
    size = max(1, ELEMENTS // (cells * samples * widest))
    rows = len(next(iter(table.values())))
    for start in range(0, rows, size):
        yield {name: value[start : start + size].to(device) for name, value in table.items()}


def _cells(variable: Variable) -> int:
    """How many values an enumerated variable has, in all its slots together."""
    if variable.family.support == "categories":
        return int(variable.event[-1] ** prod(variable.shape[:-1]))
    values = {"binary": 2, "counts to a total": variable.number + 1}.get(variable.family.support, variable.number)
    return int(values ** prod(variable.shape))


def _known(variable: Variable, value: Tensor) -> Tensor:
    """The rows and slots [row, plate...] in which a label is there."""
    encoded = variable.family.encode(value, variable.event, torch.float32)
    return ~encoded.isnan().reshape(*encoded.shape[: encoded.dim() - len(variable.event)], -1).any(-1)


def _score(model: Model, name: str, predicted: Tensor, truth: Tensor, known: Tensor) -> Score:
    family = model.variables[name].family
    if family.support in ("binary", "categories"):
        return Score("error", *_ratio(family.decode(predicted) != truth, known))
    if any(name == count.variable for count in model.plates.values()):
        return Score("error", *_ratio(predicted.round() != truth, known))
    mean, error = _ratio((predicted - truth).reshape(*known.shape, -1).double().square().mean(-1), known)
    return Score("rmse", sqrt(mean), error / (2 * sqrt(mean)) if mean else 0.0)


def _ratio(each: Tensor, known: Tensor) -> tuple[float, float]:
    """The mean of what is known, [row, plate...], of a value that is wrong in any part; and its standard error.

    It is a sum over rows in proportion to another, and the error is that of the linearised ratio.
    """
    cells = (each.reshape(*known.shape, -1).any(-1) if each.dtype == torch.bool else each).double()
    sums = torch.where(known, cells, 0.0).reshape(len(known), -1).sum(1)
    numbers = known.reshape(len(known), -1).sum(1)
    mean = (sums.sum() / numbers.sum()).item()
    return mean, ((sums - mean * numbers).square().sum().sqrt() / numbers.sum()).item()
