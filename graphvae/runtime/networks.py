"""Networks from a conditional's parents to the parameters of its family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphvae.runtime.distributions import fill_inactive

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
    """Batch normalisation over all leading axes, or over images and `pixels` [image, plane, height, width].

    A single value in training is normalised by the running statistics.
    """

    def __init__(self, features: int, pixels: bool = False) -> None:
        super().__init__(features)
        self.pixels = pixels

    def forward(self, input: Tensor) -> Tensor:
        rows = input.flatten(2) if self.pixels else input.flatten(0, -2)
        if self.training and rows.numel() < 2 * self.num_features:
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
        shaped = [part.reshape((*part.shape[:-1], *shape)) for part, shape in zip(parts, self.heads, strict=True)]
        return shaped[0] if len(shaped) == 1 else shaped


class Residual(Mlp):
    """A multilayer perceptron whose hidden layers behind the first are added to what they are given.

    Args:
        parents: The event shape of each parent.
        hidden: The width of the first layer, and the same once more for every residual block.
        heads: The shape of each head; without heads the value is what the last block gives.
        activation: The non-linearity after the first layer and in each block.
        dropout: The share of hidden units dropped in training.
        normalisation: `batch` or `layer`, before each non-linearity, or `none`.

    >>> network = Residual({"dose": ()}, hidden=[16, 16, 16], heads={"logits": (3,)})
    >>> tuple(network(dose=torch.zeros(5)).shape)
    (5, 3)
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
        super().__init__(parents, hidden[:1], heads, activation, dropout, normalisation)
        for width in hidden[1:]:
            block = ResidualBlock(*hidden_layer(width, activation, dropout, normalisation), nn.Linear(width, width))
            self.body.insert(len(self.body) - bool(heads), block)


class ResidualBlock(nn.Module):
    """Normalisation, non-linearity and linear map, added to what they are given (He et al. 2016)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.change = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Features [..., feature]."""
        change: Tensor = self.change(features)
        return features + change


class Conv(nn.Module):
    """A multilayer perceptron that sees each image among its parents through convolutions.

    An image is a parent of three dimensions [channel, height, width]. It passes its own convolutions with the axes that it has,
    so that those of one row are computed once for all samples.

    Args:
        parents: The event shape of each parent.
        channels: The planes of each convolution, which halves height and width.
        hidden: The widths of the hidden layers behind.
        heads: The shape of each head; without heads the value is the last hidden layer.
        activation: The non-linearity after each convolution and each hidden layer.
        dropout: The share of hidden units dropped in training.
        normalisation: `batch` or `layer`, before each non-linearity, or `none`.

    >>> network = Conv({"image": (1, 28, 28), "digit": (10,)}, channels=[8, 16], hidden=[32], heads={"loc": (2,)})
    >>> tuple(network(image=torch.zeros(5, 1, 28, 28), digit=torch.eye(10).unsqueeze(1)).shape)
    (10, 5, 2)
    """

    def __init__(
        self,
        parents: Mapping[str, tuple[int, ...]],
        channels: Sequence[int],
        hidden: Sequence[int],
        heads: Mapping[str, tuple[int, ...]],
        activation: str = "relu",
        dropout: float = 0.0,
        normalisation: str = "none",
    ) -> None:
        super().__init__()
        shapes = dict(parents)
        for name, shape in parents.items():
            if len(shape) == 3:
                stem = Stem(shape, channels, activation, dropout, normalisation)
                self.add_module(f"stem_{name}", stem)
                shapes[name] = (stem.features,)
        self.dense = Mlp(shapes, hidden, heads, activation, dropout, normalisation)
        self.images = [name for name, shape in parents.items() if len(shape) == 3]

    def forward(self, **parents: Tensor) -> Any:
        """The heads, [..., head...] each; one head, or the last hidden layer, comes alone."""
        return self.dense(**parents | {name: getattr(self, f"stem_{name}")(parents[name]) for name in self.images})


class Stem(nn.Module):
    """Convolutions of 3 by 3 with stride 2, from an image to a vector of features.

    Height and width are halved and rounded up.
    """

    def __init__(
        self, shape: Sequence[int], channels: Sequence[int], activation: str, dropout: float, normalisation: str
    ) -> None:
        super().__init__()
        planes, height, width = shape
        self.body = nn.Sequential()
        for before, after in pairwise((planes, *channels)):
            self.body.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
            self.body.extend(hidden_layer(after, activation, dropout, normalisation, pixels=True))
        self.features = channels[-1] * math.prod(halved((height, width), len(channels)))

    def forward(self, image: Tensor) -> Tensor:
        """An image [..., channel, height, width] to [..., feature]."""
        return over_images(self.body, image).flatten(-3)


class Deconv(nn.Module):
    """A multilayer perceptron to small planes, which are resized and convolved until they are the heads.

    Every convolution follows a resize by nearest neighbour, which leaves no checkerboard behind (Odena et al. 2016), to exactly
    the height and width that halving those of the heads and rounding up gives: 13, 25, 50.

    Args:
        parents: The event shape of each parent.
        hidden: The widths of the hidden layers.
        channels: The planes after each resize; the first are those of the small planes, too.
        heads: The shape of each head, [channel, height, width] of one height and width.
        activation: The non-linearity after each hidden layer, the small planes, and each convolution but the last.
        dropout: The share of hidden units dropped in training.
        normalisation: `batch` or `layer`, before each non-linearity, or `none`.

    >>> network = Deconv({"style": (8,)}, hidden=[32], channels=[16, 8], heads={"loc": (3, 50, 42), "scale": (3, 50, 42)})
    >>> loc, scale = network(style=torch.zeros(5, 8))
    >>> tuple(loc.shape)
    (5, 3, 50, 42)
    """

    def __init__(
        self,
        parents: Mapping[str, tuple[int, ...]],
        hidden: Sequence[int],
        channels: Sequence[int],
        heads: Mapping[str, tuple[int, ...]],
        activation: str = "relu",
        dropout: float = 0.0,
        normalisation: str = "none",
    ) -> None:
        super().__init__()
        self.planes = [shape[0] for shape in heads.values()]
        full = next(iter(heads.values()))[1:]
        sizes = [halved(full, times) for times in reversed(range(len(channels) + 1))]
        self.dense = Mlp(parents, hidden, {"planes": (channels[0], *sizes[0])}, activation, dropout, normalisation)
        self.body = nn.Sequential(*hidden_layer(channels[0], activation, dropout, normalisation, pixels=True))
        for before, after, size in zip((channels[0], *channels), channels, sizes[1:], strict=False):
            self.body.extend([nn.Upsample(size), nn.Conv2d(before, after, 3, padding=1)])
            self.body.extend(hidden_layer(after, activation, dropout, normalisation, pixels=True))
        self.body.append(nn.Conv2d(channels[-1], sum(self.planes), 3, padding=1))

    def forward(self, **parents: Tensor) -> Any:
        """The heads, [..., channel, height, width] each; one head comes alone."""
        parts = over_images(self.body, self.dense(**parents)).split(self.planes, -3)
        return parts[0] if len(parts) == 1 else list(parts)


class Gru(nn.Module):
    """A gated recurrent unit (Cho et al. 2014), from the state before and other parents to the state.

    With x the other parents and h the state before, in torch's form:

        r, z = sigmoid(W x + U h + b),   n = tanh(W' x + b' + r (U' h + c)),   state = (1 - z) n + z h

    Args:
        parents: The event shape of each parent, the state among them.
        state: Which parent is the state before.
        size: The length of the state.

    >>> network = Gru({"image": (8, 8), "before": (16,)}, state="before", size=16)
    >>> tuple(network(image=torch.zeros(5, 8, 8), before=torch.zeros(16)).shape)
    (5, 16)
    """

    def __init__(self, parents: Mapping[str, tuple[int, ...]], state: str, size: int) -> None:
        super().__init__()
        self.state = state
        self.inputs = ParentLinear({name: shape for name, shape in parents.items() if name != state}, 3 * size)
        self.recurrent = nn.Linear(size, 3 * size)

    def forward(self, **parents: Tensor) -> Tensor:
        """The state, [..., size]."""
        before = parents[self.state]
        reset, update, new = self.inputs(parents).chunk(3, -1)
        reset_before, update_before, new_before = self.recurrent(before).chunk(3, -1)
        update = (update + update_before).sigmoid()
        new = (new + (reset + reset_before).sigmoid() * new_before).tanh()
        state: Tensor = new + update * (before - new)
        return state


class Pool(nn.Module):
    """A multilayer perceptron of every slot's parents, and one vector of what it gives for all slots of the last plates.

    What an inactive slot holds has no influence. Attention weighs the slots by a softmax of the products with a learned query,
    divided by the root of its length (Vaswani et al. 2017).

    Args:
        parents: The event shape of each parent.
        hidden: The widths of the hidden layers, of which the last is the value.
        over: `sum`, `mean`, `max` or `attention`.
        plates: The sizes of the last plates, which are gathered.
        activation: The non-linearity after each hidden layer.

    >>> network = Pool({"place": (3,)}, hidden=[32], over="mean", plates=(7,))
    >>> tuple(network(place=torch.zeros(5, 7, 3), active=torch.ones(5, 7)).shape)
    (5, 32)
    """

    def __init__(
        self,
        parents: Mapping[str, tuple[int, ...]],
        hidden: Sequence[int],
        over: str,
        plates: Sequence[int],
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.embedding = Mlp(parents, hidden, heads={}, activation=activation)
        self.events = {name: len(shape) for name, shape in parents.items()}
        self.over, self.plates = over, tuple(plates)
        if over == "attention":
            self.query = nn.Parameter(torch.zeros(hidden[-1]))

    def forward(self, active: Tensor | None = None, **parents: Tensor) -> Tensor:
        """Parents [..., slot..., event...] and weights [..., slot...], 0 of an inactive one, to [..., feature]."""
        if active is not None:
            parents = {name: fill_inactive(value, active, self.events[name], 0.0) for name, value in parents.items()}
        features, plates = self.embedding(**parents), len(self.plates)
        active = features.new_ones(()) if active is None else active
        slots = torch.broadcast_shapes(active.shape, features.shape[:-1], self.plates)
        features = features.expand(*slots, features.shape[-1]).flatten(-1 - plates, -2)
        weight = active.expand(slots).flatten(-plates).unsqueeze(-1)
        features = torch.where(weight > 0, features, 0.0)
        if self.over == "max":
            return torch.where((weight > 0).any(-2), torch.where(weight > 0, features, -torch.inf).amax(-2), 0.0)
        if self.over == "attention":
            score = (features @ self.query / math.sqrt(len(self.query))).unsqueeze(-1)
            score = torch.where(weight > 0, score, torch.finfo(score.dtype).min)
            weight = weight * (score - score.amax(-2, keepdim=True)).exp()
        total, norm = (weight * features).sum(-2), weight.sum(-2)
        return total if self.over == "sum" else total / torch.where(norm > 0, norm, 1.0)


def halved(size: Sequence[int], times: int) -> tuple[int, ...]:
    """Height and width after so many halvings, each rounded up.

    >>> halved((50, 42), 2)
    (13, 11)
    """
    return tuple(-(-side // 2**times) for side in size)


def over_images(layers: nn.Module, images: Tensor) -> Tensor:
    """Layers that take [image, plane, height, width], on images [..., plane, height, width].

    Convolutions with few planes are more than twice as fast on a CPU where the planes of a pixel lie side by side in memory.
    """
    leading = images.shape[:-3]
    flat = images.reshape(math.prod(leading), *images.shape[-3:])
    made: Tensor = layers(flat.contiguous(memory_format=torch.channels_last))
    return made.reshape(*leading, *made.shape[1:])


def hidden_layer(width: int, activation: str, dropout: float, normalisation: str, pixels: bool = False) -> list[nn.Module]:
    """What follows the linear map of a hidden layer: normalisation, non-linearity, dropout.

    With `pixels` the layer is [image, plane, height, width] and `width` counts its planes; `layer` normalises an image over all
    its planes and pixels.
    """
    layers: list[nn.Module] = []
    if normalisation == "batch":
        layers.append(BatchNormalisation(width, pixels))
    elif normalisation == "layer":
        layers.append(nn.GroupNorm(1, width) if pixels else nn.LayerNorm(width))
    layers.append(ACTIVATIONS[activation]())
    if dropout:
        layers.append(nn.Dropout(dropout))
    return layers
