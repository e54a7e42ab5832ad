"""From ModelGraph to Plan: conditionals become steps, and every value gets its name and its axes. The verb is `schedule`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from graphvae.compiler.computed import code_of, imported, own_functions
from graphvae.compiler.families import INFINITY, POSITIVE_FLOOR, SUPERVISED_FLOOR, Family
from graphvae.compiler.gradients import count, divergence
from graphvae.compiler.graph import ConditionalNode, Group, ModelGraph, Side, Unit, VariableNode, factorised, sampled
from graphvae.compiler.names import LOCALS, MODULE_ATTRIBUTES, PARTS, Namespace, local_name
from graphvae.compiler.order import flat, loops
from graphvae.compiler.plan import (
    ROW,
    SAMPLE,
    Active,
    Assign,
    Call,
    Carried,
    Compute,
    CountPlan,
    Draw,
    Gather,
    Given,
    Index,
    Input,
    Loop,
    NetworkPlan,
    Parameter,
    Plan,
    PoolPlan,
    Score,
    SidePlan,
    Slice,
    Step,
    Value,
    every_read,
)
from graphvae.compiler.structure import batch_in_counted_slots, stated_event

Axes = Mapping[str, frozenset[str]]


def schedule(graph: ModelGraph) -> Plan:
    """Order a graph's conditionals into steps, and give every value its name and axes.

    The order of the keys in the text means nothing here. Cannot fail for a graph that `resolve` made.
    """
    q_axes = _axes(graph)
    p_axes = _p_axes(graph, q_axes)
    enumerated = tuple(name for name, node in graph.q.conditionals.items() if _is_enumerated(node))
    reserved = Namespace([*_classes(graph), *own_functions(graph)])
    facts = _Facts(graph, enumerated, _axis_numbers(graph, enumerated), reserved)
    class_name = facts.classes.create_name(_camel(graph.spec.model))
    return Plan(
        model=graph.spec.model,
        class_name=class_name,
        description=graph.spec.description,
        span=graph.spec.key("model"),
        variables=tuple(_random(graph)),
        enumerated=enumerated,
        bound=graph.spec.objective.bound,
        label_term=graph.spec.objective.label_term,
        q=_Scribe(facts, graph.q, q_axes, graph.q.units).side(graph.q.factorisation),
        p=_Scribe(facts, graph.p, p_axes, graph.p.units).side(graph.p.factorisation),
        sizes={name: plate.size for name, plate in graph.plates.items()},
        counts=tuple(_counts(graph)),
        frozen=tuple(name for name, submodel in graph.submodels.items() if submodel.frozen),
        settled=tuple(dict.fromkeys(node.submodel for node in batch_in_counted_slots(graph))),
    )


def _random(graph: ModelGraph) -> list[VariableNode]:
    """What is given, then what p scores in its order: noise is drawn in this order, too."""
    given = [graph.variables[name] for name in sorted(graph.named("given")) if name not in graph.p.conditionals]
    return given + [node.variable for node in graph.p.conditionals.values() if node.family]


def _counts(graph: ModelGraph) -> Iterator[CountPlan]:
    for name, plate in graph.plates.items():
        if plate.count:
            yield CountPlan(name, plate.count, graph.variables[plate.count].values)


def _is_enumerated(node: ConditionalNode) -> bool:
    return node.conditional.gradient == "enumerate"


def _axis_numbers(graph: ModelGraph, enumerated: Sequence[str]) -> dict[str, int]:
    """The first enumeration axis of each variable: in a loop it has one for every slot."""
    numbers, following = dict[str, int](), 0
    for name in enumerated:
        numbers[name] = following
        following += len(axis_sizes(graph, name))
    return numbers


def axis_sizes(graph: ModelGraph, name: str) -> tuple[int, ...]:
    """How many values stand on each enumeration axis of a variable of q: in a loop there is an axis for every slot."""
    node = graph.q.conditionals[name]
    loop = next((loop for loop in loops(graph.q.units) if name in flat(loop.members)), None)
    if loop is None:
        return (count(node),)
    size = graph.plates[loop.name].size
    return (count(replace(node, slots=node.slots // size)),) * size


def _families(graph: ModelGraph) -> list[Family]:
    families = [node.family for node in graph.variables.values()] + [node.family for node in graph.q.conditionals.values()]
    return [family for family in families if family]


def _classes(graph: ModelGraph) -> list[str]:
    families = {family.distribution for family in _families(graph)}
    networks = {row.conditional.network.module for row in _conditionals(graph) if row.conditional.network}
    pools = {"Pool" for row in _conditionals(graph) if row.conditional.network and row.conditional.network.pool}
    counts = ["Count"] * any(plate.count for plate in graph.plates.values())
    return [*PARTS, *counts, *sorted(families | networks | pools)]


def _conditionals(graph: ModelGraph) -> list[ConditionalNode]:
    return [*graph.p.conditionals.values(), *graph.q.conditionals.values()]


def _parameter_names(graph: ModelGraph) -> list[str]:
    computed = {name for node in _conditionals(graph) if node.family for name in node.expressions}
    return sorted({row.name for family in _families(graph) for row in family.parameters} | computed)


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.replace(".", "_").split("_"))


def _axes(graph: ModelGraph) -> dict[str, frozenset[str]]:
    """The enumeration and sample axes of each value of q: those of what it depends on, and its own."""
    axes = {name: frozenset({ROW}) for name in graph.variables}
    return _spread_out(graph.q, axes)


def _p_axes(graph: ModelGraph, q_axes: Axes) -> dict[str, frozenset[str]]:
    """In p a random variable has the axes of its value from q; a computed or collapsed one those of its parents in p."""
    computed = {name for name, node in graph.p.conditionals.items() if node.family is None or node.variable.collapse}
    axes = {name: frozenset({ROW}) if name in computed else own for name, own in q_axes.items()}
    return _spread_out(graph.p, axes, computed)


def _spread_out(
    side: Side, axes: dict[str, frozenset[str]], changing: Iterable[str] | None = None
) -> dict[str, frozenset[str]]:
    """Axes handed down to whatever depends on a value, until nothing changes: round a loop it takes more than one pass."""
    names = set(side.conditionals if changing is None else changing)
    while True:
        before = dict(axes)
        for name in (name for name in side.conditionals if name in names):
            axes[name] = _own_axes(side, name).union(*(axes[parent] for parent in side.reach[name]), axes[name])
        if axes == before:
            return axes


def _own_axes(side: Side, name: str) -> frozenset[str]:
    node = side.conditionals[name]
    if side.name == "p":
        return frozenset()
    return frozenset({f"enumeration {name}"} if _is_enumerated(node) else {SAMPLE} if sampled(node) else ())


@dataclass(frozen=True)
class _Facts:
    """What holds of the whole model: its graph, its enumerated variables with their first axes, and its class names."""

    graph: ModelGraph
    enumerated: tuple[str, ...]
    axis: Mapping[str, int]
    classes: Namespace


@dataclass
class _Scribe:
    """Writes a side, or the part of it that belongs to a sub-model: a class of its own, with names of its own.

    `hidden` are the plates that values have no axis for in here: those of the sub-model, and that of a loop.
    """

    facts: _Facts
    whole: Side
    axes: Axes
    units: tuple[Unit, ...]
    path: str = ""
    hidden: tuple[str, ...] = ()
    names: Namespace = field(init=False)
    python: dict[str, str] = field(init=False)
    temporaries: dict[str, str] = field(init=False)
    attributes: Namespace = field(init=False)

    def __post_init__(self) -> None:
        graph = self.facts.graph
        self.names = Namespace([*LOCALS, *_classes(graph), *imported(graph)])
        own = sorted(name for name in graph.variables if not self.path or name.startswith(f"{self.path}."))
        self.python = {name: self.names.create_name(self.local(name)) for name in own}
        masked = [name for name in own if graph.variables[name].masked]
        self.python |= {f"{name}.known": self.names.create_name(f"{self.local(name)}_known") for name in masked}
        self.temporaries = {row: self.names.create_name(row) for row in _parameter_names(graph)}
        self.attributes = Namespace(MODULE_ATTRIBUTES)

    def local(self, name: str) -> str:
        """A variable's name in here."""
        return local_name(name, self.path)

    def side(self, factorisation: str) -> SidePlan:
        """The steps, what is given first."""
        inside = set(flat(self.units))
        nodes = [self.whole.conditionals[name] for name in flat(self.units)]
        read = {parent for node in nodes for parent in (*node.before, *node.previous) if parent in self.python}
        values = dict[str, Value]()
        steps: list[Step] = list(self.given(sorted(read - inside), values))
        steps += self.indices(nodes, values)
        counted = [name for name in sorted(read - inside) if name in values]
        steps += [step for name in counted for step in self.activated(name, values, nodes)]
        steps += self.steps(self.units, values, nodes)
        return SidePlan(self.whole.name, factorisation, tuple(_with_use(steps)), self.path)

    def given(self, names: Iterable[str], values: dict[str, Value]) -> Iterator[Step]:
        """What this side conditions on, and where some of it may be missing, what is there."""
        for name in names:
            variable, mask = self.facts.graph.variables[name], None
            values[name] = self.value(name)
            if variable.masked:
                key = f"{name}.known"
                mask = Value(key, self.python[key], self.ordered(frozenset({ROW}), variable.plates), variable.elements)
                values[key] = mask
            yield Given(values[name], mask, variable.span)

    def indices(self, nodes: Iterable[ConditionalNode], values: dict[str, Value]) -> Iterator[Step]:
        """The constants of the plates whose index is a parent."""
        for plate in dict.fromkeys(plate for node in nodes for plate in node.indices):
            size = self.facts.graph.plates[plate].size
            python = f"self.{self.attributes.create_name(f'{self.local(plate)}_index')}"
            values[plate] = Value(plate, python, (plate,), (size,))
            yield Index(values[plate], size)

    def activated(self, name: str, values: dict[str, Value], nodes: Iterable[ConditionalNode]) -> Iterator[Step]:
        """The weights of the slots that a count has just decided on."""
        graph = self.facts.graph
        for plate, row in graph.plates.items():
            concerned = any(plate in (*node.variable.plates, *node.gathered) for node in nodes)
            if row.count == name and plate not in self.hidden and concerned:
                key, variable = f"{plate}.active", graph.variables[name]
                axes = self.ordered(self.axes[name], (*variable.plates, plate))
                values[key] = Value(key, self.names.create_name(f"{self.local(plate)}_active"), axes, ())
                numbers = variable.numbers if variable.event else None
                plates = tuple((self.local(other), graph.plates[other].size) for other in self.seen(variable.plates))
                yield Active(self.local(plate), row.size, values[name], numbers, values[key], False, plates)

    def steps(self, units: Iterable[Unit], values: dict[str, Value], nodes: Sequence[ConditionalNode]) -> Iterator[Step]:
        """Units in their order; `values` are those that can be read, and grow."""
        for unit in units:
            if isinstance(unit, str):
                yield from self.conditional(self.whole.conditionals[unit], values)
                yield from self.activated(unit, values, nodes)
            elif unit.kind == "loop":
                yield from self.loop(unit, values, nodes)
            else:
                yield self.call(unit, values)
                for name in flat(unit.members):
                    if name in values:
                        yield from self.activated(name, values, nodes)

    def conditional(self, node: ConditionalNode, values: dict[str, Value]) -> Iterator[Step]:
        """The steps of one conditional: its network, its expressions, its draw."""
        name = node.variable.name
        made = self.value(name)
        axes = _inherited(self.whole, node, self.axes)
        attribute = self.attributes.create_name(self.local(name))
        local = dict(values)
        if node.conditional.network and (node.heads or node.family is None):
            yield from self.computed(node, local, attribute, axes)
        yield from self.assigned(node, local, axes)
        if node.family:
            yield self.random(node, node.family, made)
        values[name] = made

    def value(self, name: str) -> Value:
        """A variable's value in here."""
        variable = self.facts.graph.variables[name]
        return Value(name, self.python[name], self.ordered(self.axes[name], variable.plates), variable.event)

    def ordered(self, axes: frozenset[str], plates: tuple[str, ...]) -> tuple[str, ...]:
        """Enumerations from the last to the first (the first is next to the samples), then sample, row and plates."""
        order = [*(f"enumeration {name}" for name in reversed(self.facts.enumerated)), SAMPLE, ROW]
        return (*(axis for axis in order if axis in axes), *(plate for plate in plates if plate not in self.hidden))

    def seen(self, plates: Iterable[str]) -> tuple[str, ...]:
        """The plates that values have an axis for in here."""
        return tuple(plate for plate in plates if plate not in self.hidden)

    def computed(self, node: ConditionalNode, values: dict[str, Value], attribute: str, axes: frozenset[str]) -> Iterator[Step]:
        """The pass through a conditional's network, behind that through what gathers its parents."""
        network, variable = node.conditional.network, node.variable
        assert network is not None
        parents = map(str, node.conditional.parents)
        names = [name for parent in parents for name in (parent, f"{parent}.known") if name in values]
        outside = [name for name in names if set(self.plates_of(values[name])) - set(variable.plates)]
        inputs = [self.input(values[name], self.seen(variable.plates)) for name in names if name not in outside]
        if outside:
            gather = self.gathered(node, [values[name] for name in outside], values, attribute)
            yield gather
            inputs.append(self.input(gather.output, self.seen(variable.plates)))
        heads: tuple[tuple[str, tuple[int, ...]], ...]
        outputs: tuple[Value, ...]
        if node.family is None and node.conditional.value:
            output = Value("network", self.temporary("network"), self.ordered(axes, variable.plates), variable.event)
            values["network"] = output
            heads, outputs = (("value", variable.event),), (output,)
        elif node.family is None:
            stated = _shape_is_stated(node, self.facts.graph) and network.kind != "gru"
            heads, outputs = (("value", variable.event),) if stated else (), (self.value(variable.name),)
        else:
            outputs = tuple(self.head(node, node.family, head, axes) for head in node.heads)
            heads = tuple((head, value.event) for head, value in zip(node.heads, outputs, strict=True))
        shapes = tuple((each.key, each.value.event) for each in inputs)
        state = values[f"{variable.name}.previous"].python if network.kind == "gru" else ""
        plan = NetworkPlan(attribute, shapes, heads, network, state)
        deterministic = node.family is None and not node.conditional.value
        yield Compute(plan, tuple(inputs), outputs, variable.name, deterministic, node.span)

    def temporary(self, name: str) -> str:
        """A name that is free again when the conditional is done."""
        if name not in self.temporaries:
            self.temporaries[name] = self.names.create_name(name)
        return self.temporaries[name]

    def plates_of(self, value: Value) -> tuple[str, ...]:
        return tuple(axis for axis in value.axes if axis in self.facts.graph.plates)

    def input(self, value: Value, plates: tuple[str, ...]) -> Input:
        """A value as something in these plates reads it."""
        own = self.plates_of(value)
        missing = [place for place, plate in enumerate(plates) if plate not in own]
        spread = tuple(place - len(plates) - len(value.event) for place in reversed(missing))
        return Input(_key(value), value, spread)

    def in_slots(self, value: Value, node: ConditionalNode) -> Input:
        """A value as what gathers it reads it: the gathered plates stand behind the others."""
        target, own = self.seen((*node.variable.plates, *node.gathered)), list(self.plates_of(value))
        moved = []
        for plate in (plate for plate in self.seen(node.gathered) if plate in own):
            if own != [other for other in target if other in own]:
                moved.append((own.index(plate) - len(own) - len(value.event), -1 - len(value.event)))
                own.remove(plate)
                own.append(plate)
        return replace(self.input(value, target), moved=tuple(moved))

    def gathered(self, node: ConditionalNode, outside: list[Value], values: Mapping[str, Value], attribute: str) -> Gather:
        """The parents in other plates as one vector."""
        network = node.conditional.network
        assert network is not None
        assert network.pool is not None
        inputs = tuple(self.in_slots(value, node) for value in outside)
        parents = tuple((each.key, each.value.event) for each in inputs)
        width = (network.size,) if network.size else (network.hidden or ())[:1]
        sizes = self.facts.graph.slots(self.seen(node.gathered))
        pool = PoolPlan(f"{attribute}_slots", parents, width, network.pool, sizes, network.activation)
        counted = [values[f"{plate}.active"] for plate in node.gathered if f"{plate}.active" in values]
        axes = frozenset({ROW}).union(*(value.axes for value in [*outside, *counted])) - set(node.gathered)
        self.attributes.create_name(pool.attribute)
        python = self.names.create_name(f"{self.local(node.variable.name)}_slots")
        output = Value(f"{node.variable.name}.slots", python, self.ordered(axes, node.variable.plates), width)
        active = self.in_slots(counted[0], node) if counted else None
        return Gather(pool, inputs, active, output, node.span)

    def head(self, node: ConditionalNode, family: Family, head: str, axes: frozenset[str]) -> Value:
        row = family.parameter(head)
        assert row is not None
        shape = row.shape(node.variable.event, node.number)
        return Value(f"{node.variable.name}.{head}", self.temporaries[head], self.ordered(axes, node.variable.plates), shape)

    def assigned(self, node: ConditionalNode, values: Mapping[str, Value], axes: frozenset[str]) -> Iterator[Step]:
        """What expressions compute."""
        for key, tree in node.expressions.items():
            text, name = code_of(node, key, values, self.facts.graph, self.seen(node.variable.plates)), node.variable.name
            if node.family is None:
                value = self.value(name)
            else:
                value = Value(f"{name}.{key}", self.temporaries[key], self.ordered(axes, node.variable.plates), text.event)
            made = Assign(value, text.code, text.needs, text.inputs, node.family is None, tree, node.span)
            if not text.inputs:
                buffer = f"self.{self.attributes.create_name(f'{self.local(name)}_{key}')}"
                made = replace(made, code=buffer, constant=text.code)
            yield made

    def parameters(self, node: ConditionalNode, family: Family) -> list[Parameter]:
        labelled = self.whole.name == "q" and node.variable.role == "supervised"
        given = {family.head(name): (name, value) for name, value in node.conditional.parameters.items()}
        rows = []
        for row in family.parameters:
            spelling, value = given.get(row.name, (row.name, "head"))
            number = 0.0 if isinstance(value, str) else float(value)
            kind: Literal["head", "learned", "constant", "number", "expression"] = "number"
            python = repr(number)
            if spelling in node.expressions:
                kind, python = "expression", self.temporaries[spelling]
            elif value == "head":
                kind, python = "head", self.temporaries[row.name]
            elif value == "learned" or family.tensors:
                kind = "learned" if value == "learned" else "constant"
                python = "self." + self.attributes.create_name(f"{self.local(node.variable.name)}_{spelling}")
            link = row.link if kind in ("head", "learned") else "identity"
            floor = SUPERVISED_FLOOR if labelled and row.name == "scale" else POSITIVE_FLOOR
            ceiling = row.ceiling if labelled and link != "identity" else INFINITY
            shape, keyword = row.shape(node.variable.event, node.number), spelling != row.name
            rows.append(Parameter(spelling, kind, python, link, floor, ceiling, number, shape, keyword, row.spread))
        return rows

    def random(self, node: ConditionalNode, family: Family, value: Value) -> Draw | Score:
        graph, variable = self.facts.graph, node.variable
        parameters = tuple(self.parameters(node, family))
        number = node.number if family.number and family.number.argument else None
        plates = tuple((self.local(plate), graph.plates[plate].size) for plate in self.plates_of(value))
        if self.whole.name == "p":
            return Score(value, False, family, parameters, number, node.span, plates, variable.collapse)
        gradient = node.conditional.gradient
        assert gradient is not None or variable.collapse
        return Draw(
            value=value,
            used=False,
            family=family,
            parameters=parameters,
            number=number,
            gradient=gradient or "reparameterised",
            enumeration=self.facts.axis.get(value.name),
            cells=self.cells(value) if gradient == "score_function" else (),
            divergence=divergence(graph, value.name),
            labelled=variable.role == "supervised",
            span=node.span,
            plates=plates,
            collapse=variable.collapse,
            shape=graph.shape(variable),
        )

    def cells(self, value: Value) -> tuple[int, ...]:
        """The sizes of the enumeration axes up to the last that a value has."""
        sizes: list[int] = []
        for name in self.facts.enumerated:
            own = axis_sizes(self.facts.graph, name)
            sizes += own if f"enumeration {name}" in value.axes else (1,) * len(own)
        while sizes and sizes[-1] == 1:
            sizes.pop()
        return tuple(sizes)

    def loop(self, group: Group, values: dict[str, Value], nodes: Sequence[ConditionalNode]) -> Iterator[Step]:
        """The slots of a plate, one after the other."""
        graph, plate = self.facts.graph, group.name
        inside = flat(group.members)
        body_nodes = [self.whole.conditionals[name] for name in inside]
        own = [node for node in body_nodes if node.variable.plates[-1:] == (plate,)]  # others run along a loop in this one
        carried = list(dict.fromkeys(name for node in own for name in node.previous))
        read = list(dict.fromkeys([*(name for node in body_nodes for name in (*node.parents, *node.indices)), *carried]))
        self.hidden = (*self.hidden, plate)
        try:
            local = dict(values)
            slices = list(self.slices(read, inside, plate, local))
            before = {name: self.before(name) for name in carried}
            local |= {f"{name}.previous": value for name, value in before.items()}
            body = [*slices, *self.steps(group.members, local, nodes)]
            handed = tuple(self.handed(name, before[name], local[name]) for name in carried)
        finally:
            self.hidden = self.hidden[:-1]
        others = [self.whole.conditionals[name] for name in flat(self.units) if name not in inside]
        outside = {parent for node in others for parent in (*node.before, *node.previous)}
        stacked = [name for name in inside if name in outside]
        made = {name: self.value(name) for name in stacked}
        computed = tuple(local[name] for name in stacked if self.whole.conditionals[name].family is None)
        python = self.names.create_name(self.local(plate))
        loop = Loop(self.local(plate), graph.plates[plate].size, python, handed, tuple(body), computed, tuple(made.values()))
        yield replace(loop, body=tuple(_with_use(body, loop.last)))
        values |= made

    def slices(self, read: Iterable[str], inside: Sequence[str], plate: str, local: dict[str, Value]) -> Iterator[Step]:
        """This slot of what was made outside, of all slots."""
        for name in read:
            for key in (name, f"{name}.known"):
                if key in local and name not in inside and plate in local[key].axes:
                    source = local[key]
                    axes = tuple(axis for axis in source.axes if axis != plate)
                    python = self.names.create_name(f"{source.python.removeprefix('self.')}_{self.local(plate)}")
                    local[key] = Value(key, python, axes, source.event)
                    yield Slice(local[key], source)

    def before(self, name: str) -> Value:
        """A variable's value in the slot before."""
        value = self.value(name)
        return replace(value, name=f"{name}.previous", python=self.names.create_name(f"{value.python}_previous"))

    def handed(self, name: str, before: Value, after: Value) -> Carried:
        node = self.whole.conditionals.get(name)
        plates = tuple(self.facts.graph.plates[plate].size for plate in self.plates_of(after))
        attribute = self.attributes.create_name(f"{self.python[name]}_initial")
        return Carried(before, after, attribute, (*plates, *after.event), bool(node and node.conditional.initial == "learned"))

    def call(self, group: Group, values: dict[str, Value]) -> Call:
        """A sub-model's part of this side, as a class of its own."""
        graph, path = self.facts.graph, group.name
        inside = flat(group.members)
        submodel = graph.submodels[path]
        scribe = _Scribe(self.facts, self.whole, self.axes, group.members, path, (*self.hidden, *submodel.plates))
        side = scribe.side(_factorisation(self.whole, inside, path))
        given = [
            step.value.name for step in side.steps if isinstance(step, Given) and step.value.name in self.whole.conditionals
        ]
        others = [self.whole.conditionals[name] for name in flat(self.units) if name not in inside]
        wanted = {parent for node in others for parent in (*node.before, *node.previous)}
        outputs = tuple((scribe.local(name), self.value(name)) for name in inside if name in wanted)
        values |= {value.name: value for _, value in outputs}
        kind = "Encoder" if self.whole.name == "q" else "Decoder"
        return Call(
            submodel=self.local(path),
            python=self.temporary(self.local(path)),
            attribute=self.attributes.create_name(self.local(path)),
            class_name=self.facts.classes.create_name(f"{_camel(path)}{kind}"),
            side=side,
            inputs=tuple((scribe.local(name), values[name]) for name in given),
            outputs=outputs,
            plates=tuple((self.local(plate), graph.plates[plate].size) for plate in self.seen(submodel.plates)),
            span=submodel.span,
        )


def _key(value: Value) -> str:
    return value.python.removeprefix("self.")


def _inherited(side: Side, node: ConditionalNode, axes: Axes) -> frozenset[str]:
    reach = side.reach[node.variable.name]
    return frozenset({ROW}).union(*(axes[parent] for parent in reach))


def _factorisation(side: Side, inside: Sequence[str], path: str) -> str:
    """`q(digit, style | image)`, of what belongs to a sub-model, by its own names."""
    nodes = [side.conditionals[name] for name in inside]
    random = [name for name in inside if side.conditionals[name].family]
    given = sorted({parent for node in nodes for parent in (*node.parents, *node.previous)} - set(inside))
    return factorised(side.name, *([local_name(name, path) for name in names] for names in (random, given)))


def _shape_is_stated(node: ConditionalNode, graph: ModelGraph) -> bool:
    """Whether a deterministic variable has a head of its own shape; without one it is the last hidden layer."""
    spec = graph.submodels[node.submodel].spec if node.submodel else graph.spec
    declared = spec.variables.get(local_name(node.variable.name, node.submodel))
    return stated_event(node.conditional) is not None or stated_event(declared) is not None


def _with_use(steps: Iterable[Step], read_last: Iterable[str] = ()) -> list[Step]:
    """Steps that say whether a later one of the same scope reads what they make."""
    listed = list(steps)
    read = {value.python for step in listed for value in every_read(step)} | set(read_last)
    return [
        replace(step, used=step.value.python in read) if isinstance(step, Draw | Score | Active) else step for step in listed
    ]
