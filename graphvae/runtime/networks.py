"""Networks from a conditional's parents to the parameters of its family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class ParentLinear(nn.Module):
    """The first layer: one linear map per parent and one bias, added up.

    Equal to a linear map of the concatenated parents, and initialised as one (by the total fan-in), but no parent is repeated
    along an axis that only another one has: what does not depend on a sample is computed once for all samples.
    """

    def __init__(self, parents: Mapping[str, tuple[int, ...]], features: int) -> None:
        super().__init__()
        self.parents = {name: (f"weight_{name}", len(shape)) for name, shape in parents.items()}
        fan_in = sum(map(math.prod, parents.values()))
        bound = 1 / math.sqrt(fan_in)
        for name, shape in parents.items():
            weight = torch.empty(features, math.prod(shape)).uniform_(-bound, bound)
            self.register_parameter(f"weight_{name}", nn.Parameter(weight))
        self.bias = nn.Parameter(torch.empty(features).uniform_(-bound, bound))

    def forward(self, values: Mapping[str, Tensor]) -> Tensor:
        """Parents [..., event...], each with the axes it has, to [..., features]."""
        total: Tensor = self.bias
        for name, (weight, dimensions) in self.parents.items():
            flat = values[name].flatten(-dimensions) if dimensions else values[name].unsqueeze(-1)
            total = total + functional.linear(flat, getattr(self, weight))
        return total


class BatchNormalisation(nn.BatchNorm1d):
    """Batch normalisation over all leading axes; a single row in training is normalised by the running statistics."""

    def forward(self, input: Tensor) -> Tensor:
        rows = input.flatten(0, -2)
        if self.training and rows.shape[0] < 2:
            fixed = functional.batch_norm(rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            return fixed.reshape(input.shape)
        return super().forward(rows).reshape(input.shape)


class Mlp(nn.Module):
    """A multilayer perceptron from named parents to named heads.

    Args:
        parents: The event shape of each parent.
        hidden: The widths of the hidden layers.
        heads: The shape of each head; without heads the value is the last hidden layer.
        activation: The non-linearity after each hidden layer.
        dropout: The share of hidden units dropped in training.
        normalisation: `batch` or `layer`, between a hidden layer and its non-linearity, or `none`.

    >>> network = Mlp({"image": (8, 8), "digit": (10,)}, hidden=[32], heads={"loc": (2,), "scale": (2,)})
    >>> loc, scale = network(image=torch.zeros(5, 8, 8), digit=torch.eye(10).unsqueeze(1))
    >>> tuple(loc.shape)
    (10, 5, 2)
    """

    def __init__(
        self,
        parents: Mapping[str, tuple[int, ...]],
        hidden: Sequence[int],
        heads: Mapping[str, tuple[int, ...]],
        activation: str = "relu",
        dropout: float = 0.0,
        normalisation: str = "none",
    ) -> None:
        super().__init__()
        self.heads = list(heads.values())
        self.sizes = list(map(math.prod, self.heads))
        widths = [*hidden, sum(self.sizes)] if heads else list(hidden)
        self.first = ParentLinear(parents, widths[0])
        self.body = nn.Sequential()
        for width, following in zip(hidden, [*widths[1:], None], strict=False):
            self.body.extend(hidden_layer(width, activation, dropout, normalisation))
            if following is not None:
                self.body.append(nn.Linear(width, following))

    def forward(self, **parents: Tensor) -> Any:
        """The heads, [..., head...] each; one head, or the last hidden layer, comes alone."""
        features = self.body(self.first(parents))
        if not self.heads:
            return features
        parts = features.split(self.sizes, -1)
        shaped = [part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, self.heads, strict=True)]
        return shaped[0] if len(shaped) == 1 else shaped


def hidden_layer(width: int, activation: str, dropout: float, normalisation: str) -> list[nn.Module]:
    """What follows the linear map of a hidden layer: normalisation, non-linearity, dropout."""
    layers: list[nn.Module] = []
    if normalisation != "none":
        layers.append(BatchNormalisation(width) if normalisation == "batch" else nn.LayerNorm(width))
    layers.append(ACTIVATIONS[activation]())
    if dropout:
        layers.append(nn.Dropout(dropout))
    return layers
