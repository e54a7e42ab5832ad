"""Models written by hand with the calls of emitted code, for what no compiler has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from graphvae.runtime import Draws, Evidence, Knobs, Model, Variable
from graphvae.runtime.terms import Draw


class Side(nn.Module):
    """p or q: `steps` draws, and reads the side's parameters and submodules, which are given by name."""

    def __init__(self, steps: Callable[..., None], **parts: Tensor | nn.Module) -> None:
        super().__init__()
        self.steps = steps
        for name, part in parts.items():
            setattr(self, name, part if isinstance(part, nn.Module) else nn.Parameter(part))

    def forward(self, evidence: Mapping[str, Evidence], noise: Mapping[str, Tensor], knobs: Knobs) -> dict[str, Draw]:
        draw = Draws(evidence, noise, knobs)
        self.steps(self, draw)
        return draw.made


def by_hand(q: nn.Module, p: nn.Module, variables: Mapping[str, Variable], **facts: object) -> Model:
    """A model with these facts about its class."""
    return type("ByHand", (Model,), {"variables": variables, "label_term": "log_mean", **facts})(q, p)


def scalar(value: float) -> Tensor:
    return torch.tensor(value)


def slopes(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    """The gradient of a sum in every parameter that it reaches."""
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    found = torch.autograd.grad(value.sum(), list(parameters.values()), allow_unused=True)
    return {name: each for name, each in zip(parameters, found, strict=True) if each is not None}
