"""What expressions compute: where they stand in a conditional, what they may read there, and the shapes that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphvae.compiler.errors import SpecError
from graphvae.compiler.expressions import Expression, calls_of, parse_expression
from graphvae.compiler.graph import ConditionalNode, ModelGraph, PlateNode, VariableNode
from graphvae.compiler.plan import Value
from graphvae.compiler.plugins import Plugin
from graphvae.compiler.spec import Conditional, Spec
from graphvae.compiler.structure import deterministic_event
from graphvae.compiler.translate import FUNCTIONS, Environment, Known, Weights, fitted, translate

WORDS = ("learned", "head")  # of a parameter, and so no expressions


@dataclass(frozen=True)
class Computed:
    """The text of an expression, what it needs of torch and of the runtime, and the values that it reads."""

    code: str
    needs: tuple[str, ...]
    inputs: tuple[Value, ...]
    event: tuple[int, ...]


def parsed(node: ConditionalNode) -> dict[str, Expression]:
    """The expressions of a conditional, by the parameter that they compute, or under `value`."""
    conditional = node.conditional
    found = {}
    for key, text in texts(conditional).items():
        path = ("value",) if key == "value" and conditional.value is not None else ("parameters", key)
        found[key] = parse_expression(text, conditional.span(*path))
    return found


def texts(conditional: Conditional) -> dict[str, str]:
    """The expressions as they are written."""
    found = {key: value for key, value in conditional.parameters.items() if isinstance(value, str) and value not in WORDS}
    return found | ({"value": conditional.value} if conditional.value is not None else {})


def with_event(
    node: ConditionalNode,
    spec: Spec,
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
    plugin: Plugin | None,
) -> VariableNode:
    """A deterministic variable with the shape that its expression has, where no shape is stated."""
    stated = deterministic_event(node.variable.name, node.conditional, spec)
    if "value" not in node.expressions or stated is not None:
        return node.variable
    if node.conditional.network is not None:
        message = f"the shape of '{node.variable.name}' is not known, and its network needs it"
        hint = "write it beside the network, as in shape: [1, 28, 28]"
        raise SpecError.of("GV107", message, node.conditional.key("network"), hint)
    text = translate(node.expressions["value"], _environment(node, "value", variables, plates, plugin))
    return replace(node.variable, event=text.event)


def check_expressions(
    node: ConditionalNode,
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
    plugin: Plugin | None,
) -> None:
    """Every expression reads what is there, and has the shape of what it is for."""
    for key, expression in node.expressions.items():
        environment = _environment(node, key, variables, plates, plugin)
        fitted(translate(expression, environment), node.variable.plates, wanted(node, key), environment, expression.span)


def wanted(node: ConditionalNode, key: str) -> tuple[int, ...]:
    """The shape of what an expression is for."""
    row = node.family.parameter(key) if node.family else None
    return row.shape(node.variable.event, node.number) if row else node.variable.event


def _environment(
    node: ConditionalNode,
    key: str,
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
    plugin: Plugin | None,
) -> Environment:
    """What an expression may read, by the names that its own file has for it."""
    names = {}
    for reference in node.conditional.parents:
        local = _local(str(reference), node.submodel)
        if reference.variable in node.indices:
            names[local] = Known(local, (local,), (plates[reference.variable].size,))
        else:
            parent = variables[reference.variable]
            names[local] = Known(local, parent.plates, parent.event)
    if node.conditional.network is not None:
        names["network"] = Known("network", node.variable.plates, node.variable.event)
    counted = {name: Weights(f"{name}_active", (name,)) for name, plate in plates.items() if plate.count}
    functions = frozenset(plugin.functions) if plugin else frozenset[str]()
    return Environment(names, tuple(plates), counted, wanted(node, key) or None, functions)


def code_of(
    node: ConditionalNode,
    key: str,
    values: Mapping[str, Value],
    graph: ModelGraph,
    plates: tuple[str, ...],
) -> Computed:
    """An expression as text.

    Args:
        node: Its conditional.
        key: Which one of it.
        values: What is there in a scope, by the variables' names.
        graph: The model's.
        plates: Those of the variable that values have an axis for in that scope.
    """
    path, expression = node.submodel, node.expressions[key]
    sources = {_local(name, path): values[name] for name in (*map(str, node.conditional.parents), "network") if name in values}
    known = {name: Known(value.python, _plates(value, graph, path), value.event) for name, value in sources.items()}
    weights = {}
    for plate in graph.plates:
        if value := values.get(f"{plate}.active"):
            local = _local(plate, path)
            sources[f"{local}.active"] = value
            weights[local] = Weights(value.python, _plates(value, graph, path))
    order = tuple(_local(plate, path) for plate in graph.plates)
    environment = Environment(known, order, weights, wanted(node, key) or None, frozenset(_own_functions(expression)))
    seen = tuple(_local(plate, path) for plate in plates)
    text = fitted(translate(expression, environment), seen, wanted(node, key), environment, expression.span)
    return Computed(text.code, text.needs, tuple(sources[name] for name in text.reads), text.event)


def _plates(value: Value, graph: ModelGraph, path: str) -> tuple[str, ...]:
    return tuple(_local(axis, path) for axis in value.axes if axis in graph.plates)


def _local(name: str, path: str) -> str:
    return name.removeprefix(f"{path}.") if path else name


def _own_functions(expression: Expression) -> set[str]:
    """The functions that are a person's own: the check has found them in the plugin."""
    return {call.function for call in calls_of(expression)} - FUNCTIONS.keys()
