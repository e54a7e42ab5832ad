"""What a model costs: the parameters it holds, and the multiply-adds of its networks for a row. The verb is `cost`.

A network is a list of linear maps. Its first layer has one for each parent, and a convolutional stem one after the other for
each image: these are applied once for every cell, sample and slot that the parent has, whatever the others have. Every other
map is applied once for every cell, sample and slot that the network has. A loop is walked through slot by slot, since what is
enumerated in one has cells in all that come behind. The row is alone, none of its labels is known and every slot is computed,
so that this is the most that a row can cost: what its batch shares and its labels save is not taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

from graphvae.compiler.gradients import count
from graphvae.compiler.graph import ModelGraph, SideName
from graphvae.compiler.maps import LinearMap, maps, pool_maps
from graphvae.compiler.plan import (
    SAMPLE,
    Active,
    Assign,
    Call,
    Compute,
    Draw,
    Gather,
    Given,
    Index,
    Loop,
    Plan,
    Score,
    SidePlan,
    Slice,
    Step,
    Value,
    makes,
)
from graphvae.compiler.schedule import axis_sizes
from graphvae.compiler.spec import KINDS


@dataclass(frozen=True)
class NetworkCost:
    """One network: its axes and how often they have it computed for a row, its parameters, and its multiply-adds for a row.

    The pool that gathers the slots of its parents is one of its own. The last two numbers are None for a class of a person's
    own. A frozen one belongs to a sub-model that is not trained.
    """

    side: SideName
    variable: str
    kind: str
    axes: tuple[str, ...]
    passes: int
    parameters: int | None
    multiply_adds: int | None
    frozen: bool = False


@dataclass(frozen=True)
class LearnedTensor:
    """A parameter of a family that is one value for all rows, or what stands before the first slot of a loop."""

    side: SideName
    variable: str
    parameter: str
    parameters: int
    frozen: bool = False


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
        return prod(size for axis, size in self.axes.items() if axis.startswith(ENUMERATION))

    @property
    def parameters(self) -> int | None:
        """All that the model holds; None where a class of a person's own is part of it."""
        return _sum(self._held())

    @property
    def frozen(self) -> int | None:
        """Those of frozen sub-models, which training leaves as they are; None as above."""
        return _sum(self._held(frozen=True))

    def _held(self, frozen: bool | None = None) -> Iterator[int | None]:
        rows: list[NetworkCost | LearnedTensor] = [*self.networks, *self.learned]
        return (row.parameters for row in rows if frozen in (None, row.frozen))

    @property
    def multiply_adds(self) -> int | None:
        """Those of a row in a step of training, forward; None where a class of a person's own is part of it."""
        times = {"q": self.q_passes, "p": 1}
        return _sum(None if row.multiply_adds is None else times[row.side] * row.multiply_adds for row in self.networks)


ENUMERATION, PLATE = "enumeration ", "plate "
"""How the names of these axes begin."""


def cost(graph: ModelGraph, plan: Plan) -> Cost:
    """Count everything.

    >>> from graphvae.compiler.pipeline import compile_file
    >>> compilation = compile_file("specs/digits.yaml")
    >>> cost(compilation.graph, compilation.plan).parameters
    63834
    """
    meter = _Meter(graph, plan)
    for side in (plan.q, plan.p):
        _Walk(meter, side).through(side.steps, {})
    sizes = {ENUMERATION + name: count(graph.q.conditionals[name]) for name in plan.enumerated}
    sizes |= {SAMPLE: meter.samples.size} | {PLATE + name: plate.size for name, plate in graph.plates.items()}
    networks = tuple(tally.finished(sizes) for tally in meter.tallies.values())
    return Cost(sizes, networks, tuple(meter.learned), 2 if plan.bound == "importance_dreg" else 1)


def _sum(numbers: Iterable[int | None]) -> int | None:
    listed = list(numbers)
    known = [number for number in listed if number is not None]
    return sum(known) if len(known) == len(listed) else None


@dataclass(frozen=True)
class _Axis:
    """An axis by its name in `Cost.axes`; what is enumerated in a loop has one for each slot."""

    name: str
    size: int
    slot: int = 0


Axes = frozenset[_Axis]
Scope = dict[str, Axes]
"""The axes, beside the row, of each value by its Python name. Those of the plan are an upper bound."""


NO_AXES: Axes = frozenset()


def _joined(several: Iterable[Axes]) -> Axes:
    return NO_AXES.union(*several)


def _passes(axes: Axes) -> int:
    return prod(axis.size for axis in axes)


@dataclass
class _Tally:
    """What one network has been found to cost so far; `maps` is None for a class of a person's own."""

    side: SideName
    variable: str
    kind: str
    maps: list[LinearMap] | None
    frozen: bool
    axes: set[str] = field(default_factory=set)
    passes: int = 0
    multiply_adds: int = 0

    def add(self, inputs: Mapping[str, Axes], made: Axes) -> None:
        """One more call, whose inputs by their keys and whose output have these axes."""
        self.axes |= {axis.name for axis in made}
        self.passes += _passes(made)
        self.multiply_adds += sum(row.multiply_adds * _passes(inputs.get(row.parent, made)) for row in self.maps or ())

    def finished(self, order: Iterable[str]) -> NetworkCost:
        """The count, with its axes in this order."""
        own = self.maps is None
        return NetworkCost(
            side=self.side,
            variable=self.variable,
            kind=self.kind,
            axes=tuple(axis for axis in order if axis in self.axes),
            passes=self.passes,
            parameters=None if own else sum(row.parameters for row in self.maps or ()),
            multiply_adds=None if own else self.multiply_adds,
            frozen=self.frozen,
        )


@dataclass
class _Meter:
    """The counts of a model, and the axes of what q draws, which p scores."""

    graph: ModelGraph
    plan: Plan
    drawn: Scope = field(default_factory=dict)
    tallies: dict[tuple[SideName, str, str], _Tally] = field(default_factory=dict)
    learned: dict[LearnedTensor, None] = field(default_factory=dict)

    @property
    def samples(self) -> _Axis:
        """The axis of the samples."""
        return _Axis(SAMPLE, self.graph.spec.objective.samples or 1)

    def plates(self, names: Iterable[str]) -> Axes:
        """The axes of those names that are plates."""
        return frozenset(_Axis(PLATE + name, self.graph.plates[name].size) for name in names if name in self.graph.plates)

    def cells(self, name: str) -> list[_Axis]:
        """The axes of an enumerated variable: one, or in a loop one for each slot."""
        return [_Axis(ENUMERATION + name, size, slot) for slot, size in enumerate(axis_sizes(self.graph, name))]


@dataclass(frozen=True)
class _Walk:
    """A walk through a side, or that of a sub-model, as its code runs.

    `looped` are the plates whose slots are taken one after the other, each with the slot it is at, the outermost first; `given`
    are the axes of what a sub-model is given, by the names of the variables.
    """

    meter: _Meter
    side: SidePlan
    looped: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, Axes] = field(default_factory=dict)

    def through(self, steps: Iterable[Step], scope: Scope) -> None:
        """Steps in their order; what they make joins the scope."""
        for step in steps:
            match step:
                case Loop():
                    self.loop(step, scope)
                case Call():
                    self.call(step, scope)
                case Compute() | Gather():
                    self.network(step, scope)
                case _:
                    self.value(step, scope)

    def network(self, step: Compute | Gather, scope: Scope) -> None:
        """A pass through a network, or through a pool, whose layers come before the slots are gathered."""
        read = {each.key: scope[each.value.python] for each in step.inputs}
        every = _joined(read.values())
        if isinstance(step, Gather):
            name = step.output.name
            self.tally(name.removesuffix(".slots"), f"{step.pool.over} pool", list(pool_maps(step.pool))).add(read, every)
            inputs = [*step.inputs, step.active] if step.active else step.inputs
            scope[step.output.python] = self.reduced([each.value for each in inputs], step.output, scope)
        else:
            kind = step.network.block.kind
            self.tally(step.variable, kind, list(maps(step.network)) if kind in KINDS else None).add(read, every)
            scope |= {value.python: every for value in step.outputs}

    def tally(self, variable: str, kind: str, found: list[LinearMap] | None) -> _Tally:
        """The count of a network, to which every call of it adds."""
        side = self.side.name
        return self.meter.tallies.setdefault((side, variable, kind), _Tally(side, variable, kind, found, self.frozen))

    def value(self, step: Given | Index | Active | Assign | Slice | Draw | Score, scope: Scope) -> None:
        """What a step without a network makes."""
        made = step.value.python
        match step:
            case Given():
                axes = self.given.get(step.value.name, self.everywhere(step.value.name))
                scope |= {value.python: axes for value in (step.value, step.mask) if value}
            case Index():
                scope[made] = self.meter.plates(step.value.axes)
            case Active():
                scope[made] = scope[step.count.python] | self.meter.plates(step.value.axes)
            case Assign():
                scope[made] = self.reduced(step.inputs, step.value, scope)
            case Slice():
                scope[made] = self.reduced([step.source], step.value, scope)
            case Draw() | Score():
                scope[made] = self.random(step, scope)
                for row in step.parameters:
                    self.learn(step.value.name, row.name, row.shape, row.kind == "learned")

    def everywhere(self, name: str) -> Axes:
        """The axes of a known variable: those of its plates that are not taken slot by slot."""
        return self.meter.plates(plate for plate in self.meter.graph.variables[name].plates if plate not in self.looped)

    def reduced(self, inputs: Iterable[Value], made: Value, scope: Scope) -> Axes:
        """What is left of the axes of inputs where plates that they have and the result has not are gathered."""
        values = list(inputs)
        gone = {axis for value in values for axis in value.axes if axis not in made.axes}
        return _joined(scope[value.python] for value in values) - self.meter.plates(gone)

    def random(self, step: Draw | Score, scope: Scope) -> Axes:
        """What is drawn, or scored: as q drew it, known, or the mean of its own conditional."""
        name, heads = step.value.name, (row.python for row in step.parameters if row.kind in ("head", "expression"))
        inherited, known = _joined(map(scope.__getitem__, heads)), self.everywhere(name)
        if step.collapse:
            return inherited
        if isinstance(step, Score):
            return self.meter.drawn.get(name, known) - self.meter.plates(self.looped)
        axes = known | self.draw(step, inherited)
        own = [plate for plate in self.looped if plate in self.meter.graph.variables[name].plates]
        self.meter.drawn[name] = self.meter.drawn.get(name, NO_AXES) | axes | self.meter.plates(own)
        return axes

    def draw(self, step: Draw, inherited: Axes) -> Axes:
        """The values of an enumerated draw are the same in every row and sample. Other draws have a sample axis beside the axes
        of their parameters; under a score-function gradient, cells have draws of their own.
        """
        if step.enumeration is not None:
            return frozenset({self.meter.cells(step.value.name)[next(iter(self.looped.values()), 0)]})
        if step.gradient != "score_function":
            return inherited | {self.meter.samples}
        enumerated = (name for name in self.meter.plan.enumerated if ENUMERATION + name in step.value.axes)
        return inherited.union({self.meter.samples}, *map(self.meter.cells, enumerated))

    def loop(self, step: Loop, scope: Scope) -> None:
        """Slot by slot; what is stacked has the axes of all slots."""
        plate = f"{self.side.path}.{step.plate}" if self.side.path else step.plate
        carried = {each.before.python: self.meter.plates(each.before.axes) for each in step.carried}
        stacked = {value.python: self.meter.plates([plate]) for value in step.stacked}
        for slot in range(step.size):
            local = scope | carried
            replace(self, looped={**self.looped, plate: slot}).through(step.body, local)
            carried = {each.before.python: local[each.after.python] for each in step.carried}
            stacked = {python: axes | local[python] for python, axes in stacked.items()}
        scope |= stacked
        for each in step.carried:
            self.learn(each.after.name, "initial", each.shape, each.learned)

    def call(self, step: Call, scope: Scope) -> None:
        """The side of a sub-model, in a scope of its own."""
        given = {value.name: scope[value.python] for _, value in step.inputs}
        inside: Scope = {}
        _Walk(self.meter, step.side, self.looped, given).through(step.side.steps, inside)
        names = {value.name: value.python for each in step.side.steps for value in makes(each)}
        scope |= {value.python: inside[names[value.name]] for _, value in step.outputs}

    def learn(self, variable: str, parameter: str, shape: tuple[int, ...], learned: bool) -> None:
        """A tensor that is learned joins the count, once."""
        if learned:
            row = LearnedTensor(self.side.name, variable, parameter, prod(shape), self.frozen)
            self.meter.learned[row] = None

    @property
    def frozen(self) -> bool:
        """Whether this belongs to a frozen sub-model."""
        return any(f"{self.side.path}.".startswith(f"{path}.") for path in self.meter.plan.frozen)
