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
from graphvae.compiler.families import POSITIVE_FLOOR, SUPERVISED_FLOOR, Family, Gradient, Link
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
    """A network: its attribute, the event shapes of its parents, and its heads; without heads it gives its last layer."""

    attribute: str
    parents: tuple[tuple[str, tuple[int, ...]], ...]
    heads: tuple[tuple[str, tuple[int, ...]], ...]
    block: Network


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family: a head of the network, a learned tensor, a constant tensor, or a number.

    `keyword` is set where the family would not expect the parameter at its place. `shape` is that of a learned or constant
    tensor.
    """

    name: str
    kind: Literal["head", "learned", "constant", "number"]
    python: str
    link: Link
    floor: float
    number: float
    shape: tuple[int, ...]
    keyword: bool


@dataclass(frozen=True)
class Given:
    """Evidence that q conditions on, or a covariate of p."""

    value: Value
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

    `enumeration` numbers the axis of an enumerated one; `used` says whether a later step of the side reads the value.
    """

    value: Value
    used: bool
    family: Family
    parameters: tuple[Parameter, ...]
    gradient: Gradient
    enumeration: int | None
    labelled: bool
    span: Span | None


@dataclass(frozen=True)
class Score:
    """The log-probability of a value under a conditional of p; in generation, the draw itself."""

    value: Value
    used: bool
    family: Family
    parameters: tuple[Parameter, ...]
    span: Span | None


Step = Given | Compute | Draw | Score


@dataclass(frozen=True)
class SidePlan:
    """The steps of p or q in topological order."""

    name: SideName
    factorisation: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    """Both sides, and the facts that the model's class states."""

    model: str
    class_name: str
    description: str
    file: str
    variables: tuple[VariableNode, ...]
    enumerated: tuple[str, ...]
    label_term: str
    q: SidePlan
    p: SidePlan

    def __str__(self) -> str:
        return "\n".join([*_listing("infer", self.q), "", *_listing("score", self.p)]) + "\n"

    def check(self) -> None:
        """Every input is made before it is used, and no two values of a side share a name; a failure is a fault of ours."""
        for side in (self.q, self.p):
            made: set[str] = set()
            for step in side.steps:
                inputs = step.inputs if isinstance(step, Compute) else ()
                assert all(value.python in made for value in inputs), step
                made |= {value.python for value in (step.outputs if isinstance(step, Compute) else (step.value,))}
        axes = [step.enumeration for step in self.q.steps if isinstance(step, Draw) and step.enumeration is not None]
        assert axes == list(range(len(axes)))


def schedule(graph: ModelGraph) -> Plan:
    """Order a graph's conditionals into steps, and give every value its name and axes.

    Cannot fail for a graph that `resolve` made.
    """
    names = Namespace([*LOCALS, *_classes(graph)])
    python = {name: names.create_name(name) for name in graph.variables}
    temporaries = {row: names.create_name(row) for row in _parameter_names(graph)}
    class_name = Namespace([*_classes(graph), "torch", "nn"]).create_name(_camel(graph.spec.model))
    enumerated = tuple(n for n, node in graph.q.conditionals.items() if node.variable.family and not sampled(node))
    q_axes = _axes(graph, enumerated)
    scribe = _Scribe(graph, python, temporaries, enumerated)
    q = SidePlan("q", _factorisation(graph.q, graph), tuple(scribe.steps(graph.q, q_axes)))
    p = SidePlan("p", _factorisation(graph.p, graph), tuple(scribe.steps(graph.p, _p_axes(graph, q_axes))))
    return Plan(
        model=graph.spec.model,
        class_name=class_name,
        description=graph.spec.description,
        file=_file(graph),
        variables=tuple(node for node in graph.variables.values() if node.family),
        enumerated=enumerated,
        label_term=graph.spec.objective.label_term,
        q=q,
        p=p,
    )


def _classes(graph: ModelGraph) -> list[str]:
    families = {node.family.distribution for node in graph.variables.values() if node.family}
    return ["Encoder", "Decoder", "Draws", "Mlp", "Model", "Variable", "positive", *sorted(families)]


def _parameter_names(graph: ModelGraph) -> list[str]:
    return sorted({row.name for node in graph.variables.values() if node.family for row in node.family.parameters})


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _file(graph: ModelGraph) -> str:
    span = graph.spec.key("model")
    return span.file.replace("\\", "/").rsplit("/", 1)[-1] if span else ""


def _factorisation(side: Side, graph: ModelGraph) -> str:
    """`q(digit, style | image)`: what is random on this side, given what is conditioned on."""
    random = [name for name, node in side.conditionals.items() if node.variable.family]
    inputs = [name for name in graph.variables if name in side.graph and name not in side.conditionals]
    conditioned = [name for name in inputs if any(side.graph.successors(name))]
    return f"{side.name}({', '.join(random)}{' | ' * bool(conditioned)}{', '.join(conditioned)})"


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
        if node.variable.family is None:
            axes[name] = _inherited(node, axes)
    return axes


def _inherited(node: ConditionalNode, axes: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset({ROW}).union(*(axes[parent] for parent in node.parents))


@dataclass(frozen=True)
class _Scribe:
    """Writes the steps of a side."""

    graph: ModelGraph
    python: Mapping[str, str]
    temporaries: Mapping[str, str]
    enumerated: tuple[str, ...]

    def steps(self, side: Side, axes: Mapping[str, frozenset[str]]) -> list[Step]:
        values = {name: self.value(name, axes[name]) for name in axes}
        used = {parent for node in side.conditionals.values() for parent in node.parents}
        inputs = [name for name in self.graph.variables if name in used and name not in side.conditionals]
        steps: list[Step] = [Given(values[name], self.graph.variables[name].span) for name in inputs]
        attributes = Namespace(MODULE_ATTRIBUTES)
        for name, node in side.conditionals.items():
            attribute = attributes.create_name(name)
            if node.conditional.network and (node.heads or node.variable.family is None):
                steps.append(self.compute(node, values, attribute, _inherited(node, axes)))
            if node.variable.family:
                parameters = tuple(self.parameters(side, node, node.variable.family, attributes))
                steps.append(self.random(side, node, node.variable.family, values[name], name in used, parameters))
        return steps

    def value(self, name: str, axes: frozenset[str]) -> Value:
        return Value(name, self.python[name], self.ordered(axes), self.graph.variables[name].event)

    def ordered(self, axes: frozenset[str]) -> tuple[str, ...]:
        """Enumerations from the last to the first (the first is next to the samples), then sample, then row."""
        order = [*(f"enumeration {name}" for name in reversed(self.enumerated)), SAMPLE, ROW]
        return tuple(axis for axis in order if axis in axes)

    def compute(self, node: ConditionalNode, values: Mapping[str, Value], attribute: str, axes: frozenset[str]) -> Compute:
        assert node.conditional.network is not None
        inputs = tuple(values[parent] for parent in node.parents)
        parents = tuple((value.python, value.event) for value in inputs)
        variable = node.variable
        if variable.family is None:
            heads: tuple[tuple[str, tuple[int, ...]], ...] = (
                (("value", variable.event),) if _shape_is_stated(node, self.graph) else ()
            )
            outputs: tuple[Value, ...] = (values[variable.name],)
        else:
            heads = tuple((head, variable.event) for head in node.heads)
            outputs = tuple(self.head(variable, head, self.ordered(axes)) for head in node.heads)
        network = NetworkPlan(attribute, parents, heads, node.conditional.network)
        return Compute(network, inputs, outputs, variable.name, variable.family is None, node.span)

    def head(self, variable: VariableNode, head: str, axes: tuple[str, ...]) -> Value:
        return Value(f"{variable.name}.{head}", self.temporaries[head], axes, variable.event)

    def parameters(self, side: Side, node: ConditionalNode, family: Family, attributes: Namespace) -> list[Parameter]:
        floor = SUPERVISED_FLOOR if side.name == "q" and node.variable.role == "supervised" else POSITIVE_FLOOR
        given = {family.head(name): (name, value) for name, value in node.conditional.parameters.items()}
        rows = []
        for row in family.parameters:
            spelling, value = given.get(row.name, (row.name, "head"))
            number = 0.0 if isinstance(value, str) else float(value)
            kind: Literal["head", "learned", "constant", "number"] = "number"
            python = repr(number)
            if value == "head":
                kind, python = "head", self.temporaries[row.name]
            elif value == "learned" or family.discrete:
                kind = "learned" if value == "learned" else "constant"
                python = "self." + attributes.create_name(f"{node.variable.name}_{spelling}")
            rows.append(
                Parameter(spelling, kind, python, row.link, floor, number, node.variable.event, keyword=spelling != row.name)
            )
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
        if side.name == "p":
            return Score(value, used, family, parameters, node.span)
        gradient = node.conditional.gradient
        assert gradient is not None
        axis = self.enumerated.index(value.name) if value.name in self.enumerated else None
        return Draw(value, used, family, parameters, gradient, axis, node.variable.role == "supervised", node.span)


def _shape_is_stated(node: ConditionalNode, graph: ModelGraph) -> bool:
    """Whether a deterministic variable has a head of its own shape; without one it is the last hidden layer."""
    declared = graph.spec.variables.get(node.variable.name)
    return bool(stated_event(node.conditional) or stated_event(declared))


def _listing(verb: str, side: SidePlan) -> list[str]:
    return [f"{verb}: {side.factorisation}", *(f"  {_line(step)}" for step in side.steps)]


def _line(step: Step) -> str:
    span = f"  line {step.span.line}" if step.span else ""
    match step:
        case Given():
            text = f"given    {step.value}"
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
