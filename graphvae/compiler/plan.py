"""Plan: how to compute, in steps. Every decision that the emitted code embodies is made here; the emitter only writes.

The verb is `schedule`. A value carries named axes, from left to right `enumeration NAME` (one for each enumerated variable),
`sample`, `row` and, behind them, the shape of its event. The axes are an upper bound: an axis is there only if an ancestor
brings it, and at run time only if that ancestor is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from graphvae.compiler.errors import Span
from graphvae.compiler.families import INFINITY, POSITIVE_FLOOR, SUPERVISED_FLOOR, Family, Gradient, Link
from graphvae.compiler.gradients import Divergence, count, divergence
from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side, SideName, VariableNode, sampled
from graphvae.compiler.names import LOCALS, MODULE_ATTRIBUTES, Namespace
from graphvae.compiler.spec import Network
from graphvae.compiler.structure import stated_event

SAMPLE, ROW = "sample", "row"


@dataclass(frozen=True)
class Value:
    """A tensor of the emitted code: [axes..., event...]. `name` is the variable's, or that of a parameter of one."""

    name: str
    python: str
    axes: tuple[str, ...]
    event: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.python} [{', '.join([*self.axes, *map(str, self.event)])}]"


@dataclass(frozen=True)
class NetworkPlan:
    """A network: its attribute, the event shapes of its parents by their Python names, and its heads.

    Without heads it gives its last hidden layer.
    """

    attribute: str
    parents: tuple[tuple[str, tuple[int, ...]], ...]
    heads: tuple[tuple[str, tuple[int, ...]], ...]
    block: Network


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family: a head of the network, a learned tensor, a constant tensor, or a number.

    `keyword` is set where the family would not expect the parameter at its place. `link` is what turns `python` into the
    parameter: the identity, where a constant or a number is the parameter itself. `shape` is that of a learned or constant
    tensor; a learned one that is `spread` begins at random.
    """

    name: str
    kind: Literal["head", "learned", "constant", "number"]
    python: str
    link: Link
    floor: float
    ceiling: float
    number: float
    shape: tuple[int, ...]
    keyword: bool
    spread: bool


@dataclass(frozen=True)
class Given:
    """Evidence that q conditions on, or a covariate of p; with a mask of what is there, where some of it may be missing."""

    value: Value
    mask: Value | None
    span: Span | None


@dataclass(frozen=True)
class Compute:
    """One pass through a network, for a deterministic variable or for the parameters of the next draw or score."""

    network: NetworkPlan
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    variable: str
    deterministic: bool
    span: Span | None


@dataclass(frozen=True)
class Draw:
    """A draw from a conditional of q, or its value where it is known.

    `enumeration` numbers the axis of an enumerated one; `used` says whether a later step of the side reads the value; `number`
    is the argument that the family takes beside its parameters, if any. `cells` are the sizes of the enumeration axes, the
    first one first and 1 for one that it does not have, over which a score-function draw needs noise of its own. `divergence`
    says whether log q - log p has a closed form.
    """

    value: Value
    used: bool
    family: Family
    parameters: tuple[Parameter, ...]
    number: int | None
    gradient: Gradient
    enumeration: int | None
    cells: tuple[int, ...]
    divergence: Divergence
    labelled: bool
    span: Span | None


@dataclass(frozen=True)
class Score:
    """The log-probability of a value under a conditional of p; in generation, the draw itself."""

    value: Value
    used: bool
    family: Family
    parameters: tuple[Parameter, ...]
    number: int | None
    span: Span | None


Step = Given | Compute | Draw | Score


@dataclass(frozen=True)
class SidePlan:
    """The steps of p or q in topological order, what is given first."""

    name: SideName
    factorisation: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    """Both sides, and the facts that the model's class states. `span` is the place of the model in its spec."""

    model: str
    class_name: str
    description: str
    span: Span | None
    variables: tuple[VariableNode, ...]
    enumerated: tuple[str, ...]
    bound: str
    label_term: str
    q: SidePlan
    p: SidePlan

    def __str__(self) -> str:
        facts = [
            f"noise: {', '.join(map(str, self.noise)) or '-'}",
            f"labels: {', '.join(self.labels) or '-'} ({self.label_term})",
            f"bound: {self.bound}",
            f"closed KL: {', '.join(map(_shown_closed, self.closed_kl.items())) or '-'}",
        ]
        return "\n".join([*_listing("infer", self.q), "", *_listing("score", self.p), "", *facts]) + "\n"

    @property
    def draws(self) -> tuple[Draw, ...]:
        """What q infers, in its order."""
        return tuple(step for step in self.q.steps if isinstance(step, Draw))

    @property
    def noise(self) -> tuple[Value, ...]:
        """The noise that q needs: a value in the shape of each sampled variable, for every sample and row."""
        drawn = (step for step in self.draws if step.enumeration is None)
        return tuple(Value(d.value.name, d.value.name, (SAMPLE, ROW), (*reversed(d.cells), *d.value.event)) for d in drawn)

    @property
    def closed_kl(self) -> dict[str, tuple[str, ...]]:
        """The variables whose divergence has a closed form, and the labels each of which takes it away in its rows."""
        return {step.value.name: step.divergence.labels for step in self.draws if step.divergence.closed}

    @property
    def labels(self) -> tuple[str, ...]:
        """The variables that may be known in some rows, in q's order: each has its own alpha."""
        return tuple(step.value.name for step in self.draws if step.labelled)

    def check(self) -> None:
        """What must hold of any plan that `schedule` makes; a failure is a fault of ours."""
        for side in (self.q, self.p):
            _check_side(side)
        drawn = {step.value.name: step for step in self.draws}
        scored = {step.value.name: step for step in self.p.steps if isinstance(step, Score)}
        assert all(scored[name].value == step.value for name, step in drawn.items())
        assert all(scored[name].family.support == step.family.support for name, step in drawn.items())
        assert set(scored) == {node.name for node in self.variables if node.role != "given"}
        assert set(drawn) == {node.name for node in self.variables if node.inferred}
        assert set(self.labels) == {node.name for node in self.variables if node.role == "supervised"}
        assert self.enumerated == tuple(step.value.name for step in self.draws if step.enumeration is not None)
        assert all(drawn[name].enumeration == axis for axis, name in enumerate(self.enumerated))


def _check_side(side: SidePlan) -> None:
    made: dict[str, Value] = {}
    attributes: list[str] = []
    heads: tuple[Value, ...] = ()
    for step in side.steps:
        if isinstance(step, Compute):
            assert all(made.get(value.python) == value for value in step.inputs), step
            assert step.network.parents == tuple((value.python, value.event) for value in step.inputs), step
            assert len(set(step.inputs)) == len(step.inputs), step
            assert all(set(value.axes) <= set(output.axes) for value in step.inputs for output in step.outputs), step
            attributes.append(f"self.{step.network.attribute}")
            heads = () if step.deterministic else step.outputs
        if isinstance(step, Draw | Score):
            computed = tuple(row.python for row in step.parameters if row.kind == "head")
            assert computed == tuple(head.python for head in heads), step
            attributes += [row.python for row in step.parameters if row.kind in ("learned", "constant")]
            heads = ()
        for value in _values(step):
            assert value.python.isidentifier(), value
            assert value.python not in made, value
            assert value.axes[-1] == ROW, value
            made[value.python] = value
    assert len(attributes) == len(set(attributes)), attributes
    for step in side.steps:
        assert not isinstance(step, Draw | Score) or step.used == _is_read(step.value, side), step


def _values(step: Step) -> tuple[Value, ...]:
    """The variables' values that a step makes; heads do not outlive the draw that they are for."""
    if isinstance(step, Compute):
        return step.outputs if step.deterministic else ()
    return (step.value, step.mask) if isinstance(step, Given) and step.mask else (step.value,)


def _is_read(value: Value, side: SidePlan) -> bool:
    return any(value in step.inputs for step in side.steps if isinstance(step, Compute))


def schedule(graph: ModelGraph) -> Plan:
    """Order a graph's conditionals into steps, and give every value its name and axes.

    The order of the keys in the text means nothing here. Cannot fail for a graph that `resolve` made.
    """
    names = Namespace([*LOCALS, *_classes(graph)])
    python = {name: names.create_name(name) for name in sorted(graph.variables)}
    masks = {name: names.create_name(f"{name}_known") for name, node in sorted(graph.variables.items()) if node.masked}
    temporaries = {row: names.create_name(row) for row in _parameter_names(graph)}
    class_name = Namespace([*_classes(graph), "torch", "nn"]).create_name(_camel(graph.spec.model))
    enumerated = tuple(n for n, node in graph.q.conditionals.items() if node.family and not sampled(node))
    q_axes = _axes(graph, enumerated)
    scribe = _Scribe(graph, python, masks, temporaries, enumerated)
    q = SidePlan("q", graph.q.factorisation, tuple(scribe.steps(graph.q, q_axes)))
    p = SidePlan("p", graph.p.factorisation, tuple(scribe.steps(graph.p, _p_axes(graph, q_axes))))
    return Plan(
        model=graph.spec.model,
        class_name=class_name,
        description=graph.spec.description,
        span=graph.spec.key("model"),
        variables=tuple(_random(graph)),
        enumerated=enumerated,
        bound=graph.spec.objective.bound,
        label_term=graph.spec.objective.label_term,
        q=q,
        p=p,
    )


def _random(graph: ModelGraph) -> list[VariableNode]:
    """What is given, then what p scores in its order: noise is drawn in this order, too."""
    given = [graph.variables[name] for name in sorted(graph.named("given"))]
    return given + [node.variable for node in graph.p.conditionals.values() if node.family]


def _families(graph: ModelGraph) -> list[Family]:
    families = [node.family for node in graph.variables.values()] + [node.family for node in graph.q.conditionals.values()]
    return [family for family in families if family]


def _classes(graph: ModelGraph) -> list[str]:
    families = {family.distribution for family in _families(graph)}
    networks = {row.conditional.network.module for row in _conditionals(graph) if row.conditional.network}
    return ["Encoder", "Decoder", "Draws", "Model", "Variable", "positive", "unit", *sorted(families | networks)]


def _conditionals(graph: ModelGraph) -> list[ConditionalNode]:
    return [*graph.p.conditionals.values(), *graph.q.conditionals.values()]


def _parameter_names(graph: ModelGraph) -> list[str]:
    return sorted({row.name for family in _families(graph) for row in family.parameters})


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _axes(graph: ModelGraph, enumerated: tuple[str, ...]) -> dict[str, frozenset[str]]:
    """The axes of each value of q: its parents' and its own."""
    axes = {name: frozenset({ROW}) for name, node in graph.variables.items() if node.evidence}
    for name, node in graph.q.conditionals.items():
        own = {f"enumeration {name}"} if name in enumerated else {SAMPLE} if sampled(node) else set()
        axes[name] = _inherited(node, axes) | own
    return axes


def _p_axes(graph: ModelGraph, q_axes: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """In p a random variable has the axes of its value from q; a deterministic one those of its parents in p."""
    axes = dict(q_axes)
    for name, node in graph.p.conditionals.items():
        if node.family is None:
            axes[name] = _inherited(node, axes)
    return axes


def _inherited(node: ConditionalNode, axes: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset({ROW}).union(*(axes[parent] for parent in node.parents))


@dataclass(frozen=True)
class _Scribe:
    """Writes the steps of a side."""

    graph: ModelGraph
    python: Mapping[str, str]
    masks: Mapping[str, str]
    temporaries: Mapping[str, str]
    enumerated: tuple[str, ...]

    def steps(self, side: Side, axes: Mapping[str, frozenset[str]]) -> list[Step]:
        values = {name: self.value(name, axes[name]) for name in axes}
        used = {parent for node in side.conditionals.values() for parent in node.parents}
        inputs = sorted(used.difference(side.conditionals))
        steps: list[Step] = [Given(values[name], self.mask(name), self.graph.variables[name].span) for name in inputs]
        attributes = Namespace(MODULE_ATTRIBUTES)
        for name, node in side.conditionals.items():
            attribute = attributes.create_name(name)
            if node.conditional.network and (node.heads or node.family is None):
                steps.append(self.compute(node, values, attribute, _inherited(node, axes)))
            if node.family:
                parameters = tuple(self.parameters(side, node, node.family, attributes))
                steps.append(self.random(side, node, node.family, values[name], name in used, parameters))
        return steps

    def value(self, name: str, axes: frozenset[str]) -> Value:
        return Value(name, self.python[name], self.ordered(axes), self.graph.variables[name].event)

    def mask(self, name: str) -> Value | None:
        """Which elements of a variable are there, for one of which some may be missing."""
        node = self.graph.variables[name]
        return Value(f"{name}.known", self.masks[name], (ROW,), node.elements) if node.masked else None

    def ordered(self, axes: frozenset[str]) -> tuple[str, ...]:
        """Enumerations from the last to the first (the first is next to the samples), then sample, then row."""
        order = [*(f"enumeration {name}" for name in reversed(self.enumerated)), SAMPLE, ROW]
        return tuple(axis for axis in order if axis in axes)

    def compute(self, node: ConditionalNode, values: Mapping[str, Value], attribute: str, axes: frozenset[str]) -> Compute:
        assert node.conditional.network is not None
        inputs = tuple(value for parent in node.parents for value in (values[parent], self.mask(parent)) if value)
        parents = tuple((value.python, value.event) for value in inputs)
        variable = node.variable
        if node.family is None:
            heads: tuple[tuple[str, tuple[int, ...]], ...] = (
                (("value", variable.event),) if _shape_is_stated(node, self.graph) else ()
            )
            outputs: tuple[Value, ...] = (values[variable.name],)
        else:
            outputs = tuple(self.head(node, node.family, head, self.ordered(axes)) for head in node.heads)
            heads = tuple((head, value.event) for head, value in zip(node.heads, outputs, strict=True))
        network = NetworkPlan(attribute, parents, heads, node.conditional.network)
        return Compute(network, inputs, outputs, variable.name, node.family is None, node.span)

    def head(self, node: ConditionalNode, family: Family, head: str, axes: tuple[str, ...]) -> Value:
        row = family.parameter(head)
        assert row is not None
        shape = row.shape(node.variable.event, node.number)
        return Value(f"{node.variable.name}.{head}", self.temporaries[head], axes, shape)

    def parameters(self, side: Side, node: ConditionalNode, family: Family, attributes: Namespace) -> list[Parameter]:
        labelled = side.name == "q" and node.variable.role == "supervised"
        given = {family.head(name): (name, value) for name, value in node.conditional.parameters.items()}
        rows = []
        for row in family.parameters:
            spelling, value = given.get(row.name, (row.name, "head"))
            number = 0.0 if isinstance(value, str) else float(value)
            kind: Literal["head", "learned", "constant", "number"] = "number"
            python = repr(number)
            if value == "head":
                kind, python = "head", self.temporaries[row.name]
            elif value == "learned" or family.tensors:
                kind = "learned" if value == "learned" else "constant"
                python = "self." + attributes.create_name(f"{node.variable.name}_{spelling}")
            link = row.link if kind in ("head", "learned") else "identity"
            floor = SUPERVISED_FLOOR if labelled and row.name == "scale" else POSITIVE_FLOOR
            ceiling = row.ceiling if labelled and link != "identity" else INFINITY
            shape, keyword = row.shape(node.variable.event, node.number), spelling != row.name
            rows.append(Parameter(spelling, kind, python, link, floor, ceiling, number, shape, keyword, row.spread))
        return rows

    def random(
        self,
        side: Side,
        node: ConditionalNode,
        family: Family,
        value: Value,
        used: bool,
        parameters: tuple[Parameter, ...],
    ) -> Draw | Score:
        number = node.number if family.number and family.number.argument else None
        if side.name == "p":
            return Score(value, used, family, parameters, number, node.span)
        gradient = node.conditional.gradient
        assert gradient is not None
        axis = self.enumerated.index(value.name) if value.name in self.enumerated else None
        return Draw(
            value=value,
            used=used,
            family=family,
            parameters=parameters,
            number=number,
            gradient=gradient,
            enumeration=axis,
            cells=self.cells(value) if gradient == "score_function" else (),
            divergence=divergence(self.graph, value.name),
            labelled=node.variable.role == "supervised",
            span=node.span,
        )

    def cells(self, value: Value) -> tuple[int, ...]:
        """The sizes of the enumeration axes up to the last that a value has."""
        has = [f"enumeration {name}" in value.axes for name in self.enumerated]
        sizes = [count(self.graph.q.conditionals[n]) if there else 1 for n, there in zip(self.enumerated, has, strict=True)]
        return tuple(sizes[: len(has) - has[::-1].index(True)]) if any(has) else ()


def _shape_is_stated(node: ConditionalNode, graph: ModelGraph) -> bool:
    """Whether a deterministic variable has a head of its own shape; without one it is the last hidden layer."""
    declared = graph.spec.variables.get(node.variable.name)
    return stated_event(node.conditional) is not None or stated_event(declared) is not None


def _listing(verb: str, side: SidePlan) -> list[str]:
    return [f"{verb}: {side.factorisation}", *(f"  {_line(step)}" for step in side.steps)]


def _shown_closed(entry: tuple[str, tuple[str, ...]]) -> str:
    name, labels = entry
    return f"{name} (unless {' or '.join(labels)} is known)" if labels else name


def _line(step: Step) -> str:
    span = f"  line {step.span.line}" if step.span else ""
    match step:
        case Given():
            text = f"given    {step.value}{f', {step.mask}' if step.mask else ''}"
        case Compute():
            inputs = ", ".join(value.python for value in step.inputs)
            text = f"compute  {', '.join(map(str, step.outputs))} = {step.network.attribute}({inputs})"
        case Draw():
            text = f"draw     {step.value} ~ {_conditional(step)}  {step.gradient}{', labelled' * step.labelled}"
        case Score():
            text = f"score    {step.value} ~ {_conditional(step)}"
    return text + span


def _conditional(step: Draw | Score) -> str:
    return f"{step.family.name}({', '.join(parameter.python for parameter in step.parameters)})"
