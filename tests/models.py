"""Every spec of the repository as a model with random weights, and random data for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from graphvae.runtime import Model, Variable

ROOT = Path(__file__).parent.parent
SPECS = sorted([*ROOT.glob("specs/*.yaml"), *ROOT.glob("tests/specs/*.yaml")])
NAMES = [path.stem for path in SPECS]


def random_model(made: type[Model], generator: torch.Generator) -> Model:
    """A model in evaluation mode whose every weight and running statistic is random."""
    model = made()
    state = {name: value.to(torch.get_default_dtype()) for name, value in model.state_dict().items()}
    state = {name: value + 0.2 * torch.rand(value.shape, generator=generator) - 0.1 for name, value in state.items()}
    model.load_state_dict(state)
    return model.eval()


def random_data(variables: Mapping[str, Variable], rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Rows as a table holds them, of each supervised variable a random share: never known in the first, always in the last."""
    data = {}
    for name, variable in variables.items():
        if variable.role == "latent":
            continue
        value = random_values(variable, rows, generator)
        if variable.role == "supervised":
            hidden = torch.rand(rows, generator=generator) < 0.5
            hidden[0], hidden[-1] = True, False
            value[hidden] = -1 if variable.family.support == "categories" else torch.nan
        data[name] = value
    return data


def random_values(variable: Variable, rows: int, generator: torch.Generator) -> Tensor:
    """Values of one variable, all known, anywhere in the support of its family."""
    if variable.family.support == "categories":
        return torch.randint(variable.event[-1], (rows, *variable.event[:-1]), generator=generator)
    if variable.family.support == "binary" and not variable.soft:
        return torch.randint(2, (rows, *variable.event), generator=generator).to(torch.get_default_dtype())
    if variable.family.support == "real":
        return torch.randn(rows, *variable.event, generator=generator)
    return torch.rand(rows, *variable.event, generator=generator)
