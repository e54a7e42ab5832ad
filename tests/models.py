"""Every spec of the repository as a model with random weights, and random data for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from graphvae.runtime import Count, Model, Variable

NOTHING: Mapping[str, Count] = {}
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


def random_data(
    variables: Mapping[str, Variable], rows: int, generator: torch.Generator, counts: Mapping[str, Count] = NOTHING
) -> dict[str, Tensor]:
    """Rows as a table holds them, of each supervised variable a random share: never known in the first, always in the last.

    Of an observed variable that may be missing, a random share of the elements is. A slot is known only where it is active.
    """
    data = {}
    for name, variable in variables.items():
        if variable.role == "latent":
            continue
        value = random_values(variable, rows, generator)
        missing = -1 if variable.family.support == "categories" else torch.nan
        if variable.role == "supervised":
            hidden = torch.rand((rows, *variable.slots), generator=generator) < 0.5
            hidden[0], hidden[-1] = True, False
            value[hidden] = missing
        if variable.masked:
            value[torch.rand(value.shape, generator=generator) < 0.3] = missing
        data[name] = value
    for plate, count in counts.items():
        number = data[count.variable]
        if count.values is not None:
            number = torch.where(number < 0, -1, torch.tensor(count.values)[number.clamp_min(0)])
        for name, variable in variables.items():
            if plate in variable.plates and variable.role == "supervised":
                inactive = torch.arange(variable.plates[plate]) >= number.unsqueeze(-1)
                data[name][inactive] = -1 if variable.family.support == "categories" else torch.nan
    return data


def random_values(variable: Variable, rows: int, generator: torch.Generator) -> Tensor:
    """Values of one variable, all known, anywhere in the support of its family."""
    shape, support = (rows, *variable.shape), variable.family.support
    uniform = torch.rand(shape, generator=generator)
    if support == "categories":
        return torch.randint(variable.event[-1], shape[:-1], generator=generator)
    values = {
        "real": lambda: torch.randn(shape, generator=generator),
        "positive": lambda: uniform + 0.1,
        "angle": lambda: 6 * uniform - 3,
        "simplex": lambda: (uniform + 0.1) / (uniform + 0.1).sum(-1, keepdim=True),
        "binary": lambda: uniform if variable.soft else uniform.round(),
        "counts": lambda: (5 * uniform).floor(),
        "counts to a total": lambda: (variable.number * uniform).round(),
        "levels": lambda: ((variable.number - 1) * uniform).round() / (variable.number - 1),
    }
    return values.get(support, lambda: uniform)()
