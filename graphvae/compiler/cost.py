"""What a model costs: the parameters it learns, and the multiply-adds of its networks for a row. The verb is `cost`.

A network is a list of linear maps. Its first layer has one for each parent, and a convolutional stem one after the other for
each image: these are applied once for every cell and sample that the parent has, whatever the others have. Every other map is
applied once for every cell and sample that the network has. The row is alone and none of its labels is known, so that
this is the most that a row can cost: what its batch shares and its labels save is not taken off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from graphvae.compiler.gradients import count
from graphvae.compiler.graph import ModelGraph, SideName
from graphvae.compiler.plan import ROW, SAMPLE, Compute, Draw, Given, NetworkPlan, Plan, Score, SidePlan, Step
from graphvae.compiler.spec import KINDS

Shape = tuple[int, ...]


@dataclass(frozen=True)
class NetworkCost:
    """One network: its axes and how often they have it computed for a row, its parameters, and its multiply-adds for a row.

    The last two are None for a class of a person's own.
    """

    side: SideName
    variable: str
    kind: str
    axes: tuple[str, ...]
    passes: int
    parameters: int | None
    multiply_adds: int | None


@dataclass(frozen=True)
class LearnedTensor:
    """A parameter of a family that is one value for all rows."""

    side: SideName
    variable: str
    parameter: str
    parameters: int


@dataclass(frozen=True)
class Cost:
    """Every axis with its size, every network, every learned tensor, and how often a step of training computes q."""

    axes: Mapping[str, int]
    networks: tuple[NetworkCost, ...]
    learned: tuple[LearnedTensor, ...]
    q_passes: int

    @property
    def cells(self) -> int:
        """The joint number of enumerated values."""
        return prod(size for axis, size in self.axes.items() if axis != SAMPLE)

    @property
    def parameters(self) -> int | None:
        """All that is learned; None where a class of a person's own is part of it."""
        return _sum([*(row.parameters for row in self.networks), *(row.parameters for row in self.learned)])

    @property
    def multiply_adds(self) -> int | None:
        """Those of a row in a step of training, forward; None where a class of a person's own is part of it."""
        times = {"q": self.q_passes, "p": 1}
        return _sum([None if row.multiply_adds is None else times[row.side] * row.multiply_adds for row in self.networks])


def cost(graph: ModelGraph, plan: Plan) -> Cost:
    """Count everything.

    >>> from graphvae.compiler.pipeline import compile_file
    >>> compilation = compile_file("specs/digits.yaml")
    >>> cost(compilation.graph, compilation.plan).parameters
    63834
    """
    sizes = {_enumeration(name): count(graph.q.conditionals[name]) for name in plan.enumerated}
    sizes[SAMPLE] = graph.spec.objective.samples or 1
    axes: dict[str, frozenset[str]] = {}
    networks = [row for side in (plan.q, plan.p) for row in _networks(side, axes, sizes)]
    learned = [row for side in (plan.q, plan.p) for row in _learned(side)]
    return Cost(sizes, tuple(networks), tuple(learned), 2 if plan.bound == "importance_dreg" else 1)


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _enumeration(name: str) -> str:
    return f"enumeration {name}"


def _networks(side: SidePlan, axes: dict[str, frozenset[str]], sizes: Mapping[str, int]) -> Iterator[NetworkCost]:
    """The networks of a side; `axes` are those of each value by its Python name, to which this adds."""
    for step in side.steps:
        axes |= _made(step, axes)
        if isinstance(step, Compute):
            yield _network(side.name, step, axes, sizes)


def _made(step: Step, axes: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The axes, beside the row, of what a step makes. Those of the plan are an upper bound."""
    match step:
        case Given():
            return {value.python: frozenset() for value in (step.value, step.mask) if value}
        case Compute():
            inherited = frozenset[str]().union(*(axes[value.python] for value in step.inputs))
            return {value.python: inherited for value in step.outputs}
        case Draw():
            return {step.value.python: _drawn(step, axes)}
        case Score():  # as q drew it, or observed
            return {step.value.python: axes.get(step.value.python, frozenset())}


def _drawn(step: Draw, axes: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The values of an enumerated draw are the same in every row and sample. Other draws have a sample axis beside the axes of
    their parameters; under a score-function gradient, cells have draws of their own.
    """
    if step.enumeration is not None:
        return frozenset({_enumeration(step.value.name)})
    if step.gradient == "score_function":
        return frozenset(step.value.axes) - {ROW}
    return frozenset({SAMPLE}).union(*(axes[row.python] for row in step.parameters if row.kind == "head"))


def _network(side: SideName, step: Compute, axes: Mapping[str, frozenset[str]], sizes: Mapping[str, int]) -> NetworkCost:
    def passes(value: str) -> int:
        return prod(sizes[axis] for axis in axes[value])

    made, kind = step.outputs[0].python, step.network.block.kind
    maps = list(_maps(step.network)) if kind in KINDS else None
    return NetworkCost(
        side=side,
        variable=step.variable,
        kind=kind,
        axes=tuple(axis for axis in sizes if axis in axes[made]),
        passes=passes(made),
        parameters=None if maps is None else sum(row.parameters for row in maps),
        multiply_adds=None if maps is None else sum(row.multiply_adds * passes(row.parent or made) for row in maps),
    )


def _learned(side: SidePlan) -> Iterator[LearnedTensor]:
    for step in side.steps:
        if isinstance(step, Draw | Score):
            learned = (row for row in step.parameters if row.kind == "learned")
            yield from (LearnedTensor(side.name, step.value.name, row.name, prod(row.shape)) for row in learned)


@dataclass(frozen=True)
class _Map:
    """A linear map with its bias, or the scale and shift of a normalisation; `parent` where it reads that one alone."""

    parameters: int
    multiply_adds: int = 0
    parent: str = ""


def _maps(network: NetworkPlan) -> Iterator[_Map]:
    """The maps of a network, as `runtime/networks.py` builds it; a test proves it from the modules there."""
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
    else:
        yield from _mlp(dict(network.parents), hidden, outputs, normalised)


def _mlp(parents: Mapping[str, Shape], hidden: Sequence[int], outputs: int, normalised: bool) -> Iterator[_Map]:
    """The first layer is a map for each parent and one bias."""
    widths = [*hidden, outputs] if outputs else list(hidden)
    for name, shape in parents.items():
        weights = prod(shape) * widths[0]
        yield _Map(weights, weights, name)
    yield _Map(widths[0])
    for before, after in pairwise(widths):
        yield _linear(before, after)
    for width in hidden:
        yield from _normalisation(width, normalised)


def _stem(parent: str, shape: Shape, channels: Sequence[int], normalised: bool) -> Iterator[_Map]:
    """Convolutions of one parent, each of which halves height and width."""
    for times, (before, after) in enumerate(pairwise((shape[0], *channels)), start=1):
        yield _convolution(before, after, _halved(shape[1:], times), parent)
        yield from _normalisation(after, normalised)


def _growing(channels: Sequence[int], planes: int, size: Shape, normalised: bool) -> Iterator[_Map]:
    """Convolutions behind a resize each, and a last one to the heads."""
    yield from _normalisation(channels[0], normalised)
    for times, (before, after) in enumerate(pairwise((channels[0], *channels)), start=1):
        yield _convolution(before, after, _halved(size, len(channels) - times))
        yield from _normalisation(after, normalised)
    yield _convolution(channels[-1], planes, size)


def _linear(before: int, after: int) -> _Map:
    return _Map((before + 1) * after, before * after)


def _convolution(before: int, after: int, size: Shape, parent: str = "") -> _Map:
    """Of 3 by 3, to an image of this height and width."""
    return _Map((9 * before + 1) * after, 9 * before * after * prod(size), parent)


def _normalisation(width: int, normalised: bool) -> Iterator[_Map]:
    if normalised:
        yield _Map(2 * width)


def _halved(size: Shape, times: int) -> Shape:
    """Height and width after so many halvings, each rounded up."""
    return tuple(-(-side // 2**times) for side in size)
