"""The linear maps of a network, as `runtime/networks.py` builds it: a test proves it from the modules. The verb is `maps`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from graphvae.compiler.plan import NetworkPlan, PoolPlan

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LinearMap:
    """A linear map with its bias, or the scale and shift of a normalisation; `parent` where it reads that one alone."""

    parameters: int
    multiply_adds: int = 0
    parent: str = ""


def maps(network: NetworkPlan) -> Iterator[LinearMap]:
    """The maps of a network of one of graphvae's own kinds."""
    block, heads = network.block, [shape for _, shape in network.heads]
    hidden, channels, outputs = block.hidden or (), block.channels or (), sum(map(prod, heads))
    normalised = block.normalisation != "none"
    if block.kind == "conv":
        parents = dict(network.parents)
        for name, shape in network.parents:
            if len(shape) == 3:
                yield from _stem(name, shape, channels, normalised)
                parents[name] = (channels[-1], *_halved(shape[1:], len(channels)))
        yield from _mlp(parents, hidden, outputs, normalised)
    elif block.kind == "deconv":
        small = (channels[0], *_halved(heads[0][1:], len(channels)))
        yield from _mlp(dict(network.parents), hidden, prod(small), normalised)
        yield from _growing(channels, sum(shape[0] for shape in heads), heads[0][1:], normalised)
    elif block.kind == "residual":
        yield from _mlp(dict(network.parents), hidden[:1], outputs, normalised)
        for width in hidden[1:]:
            yield _linear(width, width)
            yield from _normalisation(width, normalised)
    elif block.kind == "gru":
        yield from _gru(network)
    else:
        yield from _mlp(dict(network.parents), hidden, outputs, normalised)


def pool_maps(pool: PoolPlan) -> Iterator[LinearMap]:
    """The layers of a pool, and the query of its attention."""
    yield from _mlp(dict(pool.parents), pool.hidden, 0, normalised=False)
    if pool.over == "attention":
        yield LinearMap(pool.hidden[-1])


def _gru(network: NetworkPlan) -> Iterator[LinearMap]:
    """Three gates, from the other parents and from the state."""
    gates, size = 3 * (network.block.size or 0), network.block.size or 0
    yield from _mlp({name: shape for name, shape in network.parents if name != network.state}, (gates,), 0, normalised=False)
    yield LinearMap((size + 1) * gates, size * gates, network.state)


def _mlp(parents: Mapping[str, Shape], hidden: Sequence[int], outputs: int, normalised: bool) -> Iterator[LinearMap]:
    """The first layer is a map for each parent and one bias."""
    widths = [*hidden, outputs] if outputs else list(hidden)
    for name, shape in parents.items():
        weights = prod(shape) * widths[0]
        yield LinearMap(weights, weights, name)
    yield LinearMap(widths[0])
    for before, after in pairwise(widths):
        yield _linear(before, after)
    for width in hidden:
        yield from _normalisation(width, normalised)


def _stem(parent: str, shape: Shape, channels: Sequence[int], normalised: bool) -> Iterator[LinearMap]:
    """Convolutions of one parent, each of which halves height and width."""
    for times, (before, after) in enumerate(pairwise((shape[0], *channels)), start=1):
        yield _convolution(before, after, _halved(shape[1:], times), parent)
        yield from _normalisation(after, normalised)


def _growing(channels: Sequence[int], planes: int, size: Shape, normalised: bool) -> Iterator[LinearMap]:
    """Convolutions behind a resize each, and a last one to the heads."""
    yield from _normalisation(channels[0], normalised)
    for times, (before, after) in enumerate(pairwise((channels[0], *channels)), start=1):
        yield _convolution(before, after, _halved(size, len(channels) - times))
        yield from _normalisation(after, normalised)
    yield _convolution(channels[-1], planes, size)


def _linear(before: int, after: int) -> LinearMap:
    return LinearMap((before + 1) * after, before * after)


def _convolution(before: int, after: int, size: Shape, parent: str = "") -> LinearMap:
    """Of 3 by 3, to an image of this height and width."""
    return LinearMap((9 * before + 1) * after, 9 * before * after * prod(size), parent)


def _normalisation(width: int, normalised: bool) -> Iterator[LinearMap]:
    if normalised:
        yield LinearMap(2 * width)


def _halved(size: Shape, times: int) -> Shape:
    """Height and width after so many halvings, each rounded up."""
    return tuple(-(-side // 2**times) for side in size)
