"""What expressions compute: where they stand in a conditional, what they may read there, and the shapes that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphvae.compiler.errors import SpecError, did_you_mean
from graphvae.compiler.expression_code import FUNCTIONS, fitted, translate
from graphvae.compiler.expression_shapes import Environment, Known, Weights
from graphvae.compiler.expressions import Expression, Name, calls_of, names_of, parse_expression
from graphvae.compiler.graph import ConditionalNode, ModelGraph, PlateNode, VariableNode
from graphvae.compiler.names import local_name
from graphvae.compiler.networks import RESERVED
from graphvae.compiler.plan import Value
from graphvae.compiler.plugins import Plugin
from graphvae.compiler.spec import Conditional, Network, Spec
from graphvae.compiler.structure import deterministic_event

WORDS = ("learned", "head")  # of a parameter, and so no expressions

# What the emitted text of an expression may call by its name.
RUNTIME = (
    "functional",
    "normalise",
    "paste",
    "crop",
    "concatenated",
    "as_channels",
    "stretched",
    "sum_over",
    "mean_over",
    "max_over",
    "product_over",
)


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


def with_numbers(
    node: ConditionalNode,
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
    plugin: Plugin | None,
) -> ConditionalNode:
    """A conditional whose parameters are numbers where their expressions are made of numbers alone."""
    if node.family is None:
        return node
    environment = _environment(node, None, variables, plates, plugin)
    made = {key: translate(tree, environment) for key, tree in node.expressions.items() if not any(names_of(tree))}
    numbers = {key: text.number for key, text in made.items() if text.number is not None}
    expressions = {key: tree for key, tree in node.expressions.items() if key not in numbers}
    conditional = node.conditional.model_copy(update={"parameters": {**node.conditional.parameters, **numbers}})
    return replace(node, conditional=conditional, expressions=expressions)


def with_event(
    node: ConditionalNode,
    spec: Spec,
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
    plugin: Plugin | None,
) -> VariableNode:
    """A deterministic variable with the shape that its expression has, where no shape is stated."""
    stated, network = deterministic_event(node.variable.name, node.conditional, spec), node.conditional.network
    if "value" not in node.expressions or stated is not None or (network and network.kind == "gru"):
        return node.variable
    if network is not None:
        message = f"the shape of '{node.variable.name}' is not known, and its network needs it"
        hint = "write it beside the network, as in shape: [1, 28, 28]"
        raise SpecError.of("GV107", message, node.conditional.key("network"), hint)
    text = translate(node.expressions["value"], _environment(node, None, variables, plates, plugin))
    return replace(node.variable, event=text.event)


def check_expressions(
    node: ConditionalNode,
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
    plugin: Plugin | None,
) -> None:
    """Every expression reads what is there, and has the shape of what it is for."""
    if node.family is None and node.conditional.network and node.expressions:
        _check_network(node, node.conditional.network)
    for key, expression in node.expressions.items():
        _check_word(node, key, expression)
        _check_calls(expression)
        text = translate(expression, _environment(node, wanted(node, key), variables, plates, plugin))
        fitted(text, node.variable.plates, wanted(node, key), whole=node.family is None)


def _check_network(node: ConditionalNode, network: Network) -> None:
    """What a network makes is read by the value, under a name that no parent has."""
    names, name = [name.text for name in names_of(node.expressions["value"])], node.variable.name
    for place, parent in enumerate(node.conditional.parents):
        if parent.variable == "network" and not parent.previous:
            message = f"'network' is a parent of '{name}', and the word for what its network makes"
            raise SpecError.of("GV120", message, node.conditional.span("parents", place), "give the parent another name")
    if "network" not in names:
        message = f"'{name}' has a network, and its value does not read it"
        hint = "write network where its output stands, as in value: 2 * network, or leave it out"
        raise SpecError.of("GV120", message, node.conditional.key("network"), hint)


def _check_word(node: ConditionalNode, key: str, expression: Expression) -> None:
    """A single name is a parent, or a misspelt word."""
    if node.family and isinstance(expression, Name) and expression.text not in map(str, node.conditional.parents):
        word = expression.text
        message = f"'{key}' should be a number, 'learned', 'head', or an expression over the parents, and not '{word}'"
        hint = did_you_mean(word, [*WORDS, *map(str, node.conditional.parents)], "words here")
        raise SpecError.of("GV120", message, expression.span, hint)


def _check_calls(expression: Expression) -> None:
    """No function of a plugin takes the place of a part of the emitted file."""
    for call in calls_of(expression):
        if call.function in {*RESERVED, *RUNTIME} - FUNCTIONS.keys():
            message = f"a function cannot be called '{call.function}', since a part of the emitted file is"
            raise SpecError.of("GV120", message, call.place, f"rename it in the plugin, as in my_{call.function.lower()}")


def wanted(node: ConditionalNode, key: str) -> tuple[int, ...]:
    """The shape of what an expression is for."""
    row = node.family.parameter(key) if node.family else None
    return row.shape(node.variable.event, node.number) if row else node.variable.event


def _environment(
    node: ConditionalNode,
    event: tuple[int, ...] | None,
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
    plugin: Plugin | None,
) -> Environment:
    """What an expression may read, by the names that its own file has for it; `event` is the shape of what it is for."""
    names = {}
    for reference in node.conditional.parents:
        local = local_name(str(reference), node.submodel)
        if reference.variable in node.indices:
            names[local] = Known(local, (local,), (plates[reference.variable].size,))
        else:
            parent = variables[reference.variable]
            names[local] = Known(local, parent.plates, parent.event)
    if node.family is None and node.conditional.network is not None:
        names["network"] = Known("network", node.variable.plates, node.variable.event)
    counted = {
        name: Weights(f"{name}_active", (*variables[plate.count].plates, name)) for name, plate in plates.items() if plate.count
    }
    functions = plugin.functions if plugin else {}
    return Environment(names, tuple(plates), counted, event, functions)


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
        values: What is there in a scope, by the variables' names. An expression that reads none of them has no inputs.
        graph: The model's.
        plates: Those of the variable that values have an axis for in that scope.
    """
    path, expression = node.submodel, node.expressions[key]
    sources = {
        local_name(name, path): values[name] for name in (*map(str, node.conditional.parents), "network") if name in values
    }
    known = {name: Known(value.python, _plates(value, graph, path), value.event) for name, value in sources.items()}
    if not any(name.text in known for name in names_of(expression)):
        known = {}
    weights = {}
    for plate in graph.plates:
        if value := values.get(f"{plate}.active"):
            local = local_name(plate, path)
            sources[f"{local}.active"] = value
            weights[local] = Weights(value.python, _plates(value, graph, path))
    order = tuple(local_name(plate, path) for plate in graph.plates)
    environment = Environment(known, order, weights, wanted(node, key), dict.fromkeys(_own_functions(expression)))
    seen = tuple(local_name(plate, path) for plate in plates)
    text = fitted(translate(expression, environment), seen, wanted(node, key))
    return Computed(text.code, text.needs, tuple(sources[name] for name in text.reads), text.event)


def _plates(value: Value, graph: ModelGraph, path: str) -> tuple[str, ...]:
    return tuple(local_name(axis, path) for axis in value.axes if axis in graph.plates)


def own_functions(graph: ModelGraph) -> set[str]:
    """The functions of a plugin that a model needs, its sub-models included."""
    return set().union(*map(_own_functions, _expressions(graph)))


def imported(graph: ModelGraph) -> set[str]:
    """The names that emitted code may import for expressions, so that no variable takes them."""
    return {*RUNTIME, *own_functions(graph)} if _expressions(graph) else set()


def _expressions(graph: ModelGraph) -> list[Expression]:
    nodes = [node for side in (graph.p, graph.q) for node in side.conditionals.values()]
    return [expression for node in nodes for expression in node.expressions.values()]


def _own_functions(expression: Expression) -> set[str]:
    """The functions that are a person's own: the check has found them in the plugin."""
    return {call.function for call in calls_of(expression)} - FUNCTIONS.keys()
