"""A lint after the training: a labelled density that stands at its floor would have collapsed onto its labels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from graphvae.compiler.errors import Diagnostic
from graphvae.compiler.families import INFINITY, SUPERVISED_FLOOR
from graphvae.compiler.plan import Draw, Parameter, Plan
from graphvae.lab.data import Dataset
from graphvae.runtime import Model

NEAR = 2  # times a floor, where the floor is half of the value; or a ceiling over it
ROWS = 1000  # of the labelled ones are looked at


@torch.no_grad()
def at_the_floor(plan: Plan, model: Model, dataset: Dataset) -> Iterator[Diagnostic]:
    """A warning for each supervised variable of q whose density is as narrow as it may be in most of the labelled rows."""
    bounded = [(step, row) for step in plan.draws for row in step.parameters if _bound(row)]
    rows = list(dataset.labelled[:ROWS])
    if not bounded or not rows:
        return
    device, training = next(model.parameters()).device, model.training
    model.eval()
    block = model.block({name: value[rows].to(device) for name, value in dataset.train.items()}, 1, torch.Generator(device))
    drawn = model.run(model.encoder, block.evidence, block.noise, model.knobs())
    model.train(training)
    for step, row in bounded:
        values: Tensor = getattr(drawn[step.value.name].distribution, row.name)
        near = values < NEAR * row.floor if row.ceiling == INFINITY else values > row.ceiling / NEAR
        if (share := near.double().mean().item()) > 0.5:
            yield _reached(step, row, share)


def _bound(row: Parameter) -> float | None:
    """The bound beyond which a labelled density would be too narrow; None for a parameter that has none."""
    if row.ceiling != INFINITY:
        return row.ceiling
    return row.floor if row.floor == SUPERVISED_FLOOR and row.link == "positive" else None


def _reached(step: Draw, row: Parameter, share: float) -> Diagnostic:
    name, bound = step.value.name, _bound(row)
    message = f"the {row.name} of '{name}' in q has reached its bound of {bound:g} in {share:.0%} of the labelled rows"
    hint = f"its density would collapse onto its labels: state the {row.name}, lower alpha, or label more rows"
    return Diagnostic("GV403", message, step.span, hint, severity="warning")
