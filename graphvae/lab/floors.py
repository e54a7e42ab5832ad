"""A lint after the training: a labelled density that stands at its floor would have collapsed onto its labels."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from graphvae.compiler.errors import Diagnostic
from graphvae.compiler.families import SUPERVISED_FLOOR
from graphvae.compiler.plan import Draw, Plan
from graphvae.lab.data import Dataset
from graphvae.runtime import Model

NEAR = 1.1  # times the floor
ROWS = 1000  # of the labelled ones are looked at


@torch.no_grad()
def at_the_floor(plan: Plan, model: Model, dataset: Dataset) -> Iterator[Diagnostic]:
    """A warning for each supervised continuous variable whose scale has reached its floor in most of the labelled rows."""
    bounded = {step.value.name: step for step in plan.draws if any(row.floor == SUPERVISED_FLOOR for row in step.parameters)}
    rows = list(dataset.labelled[:ROWS])
    if not bounded or not rows:
        return
    device, training = next(model.parameters()).device, model.training
    model.eval()
    block = model.block({name: value[rows].to(device) for name, value in dataset.train.items()}, 1, torch.Generator(device))
    drawn = model.run(model.encoder, block.evidence, block.noise, model.knobs())
    model.train(training)
    for name, step in bounded.items():
        near = (drawn[name].distribution.scale < NEAR * SUPERVISED_FLOOR).double().mean().item()  # type: ignore[attr-defined]
        if near > 0.5:
            yield _reached(step, near)


def _reached(step: Draw, near: float) -> Diagnostic:
    message = f"the scale of '{step.value.name}' in q has reached its floor of {SUPERVISED_FLOOR:g} in {near:.0%} of what was looked at"
    hint = "its density would collapse onto its labels: give the scale a number, lower alpha, or label more rows"
    return Diagnostic("GV403", message, step.span, hint, severity="warning")
