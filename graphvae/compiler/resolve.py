"""From Spec to ModelGraph: every name bound, every default filled in.

The verb is `resolve`: bind the variables, build both sides, let `structure` check them, and complete the spec. The first
mistake stops it, since the rest would be echoes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from graphvae.compiler import structure
from graphvae.compiler.dag import topological_order
from graphvae.compiler.families import FAMILIES, Family
from graphvae.compiler.gradients import RELAXED, TEMPERATURE, Choice, check_draws, choose
from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side, SideName, VariableNode
from graphvae.compiler.networks import check_networks, complete
from graphvae.compiler.plugins import Plugin
from graphvae.compiler.spec import Conditional, Objective, ParameterValue, Spec, Variable


def resolve(spec: Spec, plugin: Plugin | None = None) -> ModelGraph:
    """Bind a spec's names and complete it; a kind of network may be a class of the plugin.

    Raises SpecError at the first name, edge, parameter or coverage that cannot be, with its place in the text.
    """
    check_networks(spec, plugin)
    variables = {name: _declared(name, variable, spec) for name, variable in spec.variables.items()}
    structure.check_observed(variables, spec)
    variables |= _defined_by_conditionals(spec, variables)
    structure.check_defined(variables, spec)
    p = _side("p", spec, variables)
    q = _with_gradients(_side("q", spec, variables), p, spec.objective)
    graph = ModelGraph(_complete(spec, variables, p, q), variables, p, q)
    structure.check_coverage(graph, spec)
    structure.check_declarations(graph)
    check_draws(graph)
    objective = graph.spec.objective.model_copy(update={"samples": graph.spec.objective.samples or _samples(graph)})
    return ModelGraph(graph.spec.model_copy(update={"objective": objective}), variables, p, q)


def _samples(graph: ModelGraph) -> int:
    """Several where the weights of samples can differ, or a score-function gradient leaves one out; else one."""
    gradients = [node.conditional.gradient for node in graph.q.conditionals.values()]
    weighted = graph.spec.objective.bound != "self_normalised" or any(map(graph.draws_before, graph.named("supervised")))
    return 8 if weighted or "score_function" in gradients else 1


def _declared(name: str, variable: Variable, spec: Spec) -> VariableNode:
    span = spec.key("variables", name)
    structure.check_variable(name, variable, span)
    if variable.distribution is None:
        stated = structure.stated_event(variable)
        event = _event_of_conditional(name, spec) if stated is None else stated
        return VariableNode(name, "deterministic", None, event, span)
    family = FAMILIES[variable.distribution]
    event = (structure.stated_event(variable) or ()) + ((variable.categories or 0,) if family.simplex else ())
    number, masked = _number(family, variable), variable.missing == "mask"
    return VariableNode(name, variable.role, family, event, span, bool(variable.soft), number, masked)


def _number(family: Family, block: Variable | Conditional) -> int:
    """The whole number that a family needs, as written or by default; 0 if it needs none."""
    return (getattr(block, family.number.name) or family.number.default or 0) if family.number else 0


def _defined_by_conditionals(spec: Spec, declared: Mapping[str, VariableNode]) -> dict[str, VariableNode]:
    """Deterministic variables that p or q defines without a line under `variables`."""
    found = {}
    for side, conditionals in _sides(spec):
        for name, conditional in conditionals.items():
            if name not in declared and name not in found:
                structure.check_definition(side, name, conditional, spec, declared)
                event = _event_of_conditional(name, spec)
                found[name] = VariableNode(name, "deterministic", None, event, spec.key(side, name))
    return found


def _sides(spec: Spec) -> list[tuple[SideName, Mapping[str, Conditional]]]:
    return [("p", spec.p), ("q", spec.q or {})]


def _event_of_conditional(name: str, spec: Spec) -> tuple[int, ...]:
    """The shape of a deterministic variable; where both sides define it, `structure` has them agree."""
    defined = (conditionals[name] for _, conditionals in _sides(spec) if name in conditionals)
    return next((structure.deterministic_event(name, conditional, spec) for conditional in defined), None) or ()


def _side(side: SideName, spec: Spec, variables: Mapping[str, VariableNode]) -> Side:
    written = dict(_sides(spec))[side]
    nodes = {name: variables[name] for name in written}
    if side == "p":
        nodes |= {name: node for name, node in variables.items() if node.inferred}
    parents: dict[str, tuple[str, ...]] = dict.fromkeys(nodes, ())
    for name, conditional in written.items():
        structure.check_conditional(side, variables[name], conditional, spec, variables)
        parents[name] = tuple(parent.variable for parent in conditional.parents)
    structure.check_acyclic(side, parents, spec)
    made = [
        _node(side, variables[name], written.get(name), spec, variables) for name in topological_order(parents) if name in nodes
    ]
    return Side(side, {node.variable.name: node for node in made})


def _with_gradients(q: Side, p: Side, objective: Objective) -> Side:
    chosen = choose(q, p, objective)
    return Side("q", {name: _drawn(node, chosen[name]) if node.family else node for name, node in q.conditionals.items()})


def _node(
    side: SideName, variable: VariableNode, written: Conditional | None, spec: Spec, variables: Mapping[str, VariableNode]
) -> ConditionalNode:
    if written is None:
        standard = Conditional(parameters=_standard(variable.family))
        return ConditionalNode(variable, variable.family, standard, variable.span, variable.number)
    family, number = variable.family, variable.number
    if written.distribution:
        family = FAMILIES[written.distribution]
        own = family.number is not None and not family.number.argument  # what bounds the values is the variable's
        number = _number(family, written) if own else variable.number
    parameters = _parameters(family, written)
    node = ConditionalNode(
        variable, family, written.model_copy(update={"parameters": parameters}), spec.key(side, variable.name), number
    )
    if not node.heads and family is not None:
        return node
    blocks = (written, spec.variables.get(variable.name))
    network = complete(node, variables, stated=any(structure.stated_event(block) is not None for block in blocks))
    return replace(node, conditional=node.conditional.model_copy(update={"network": network}))


def _drawn(node: ConditionalNode, choice: Choice) -> ConditionalNode:
    """A conditional of q with its gradient, and a temperature where that needs one."""
    update: dict[str, object] = {"gradient": choice.gradient}
    if choice.gradient in RELAXED:
        update["temperature"] = node.conditional.temperature or TEMPERATURE
    return replace(node, conditional=node.conditional.model_copy(update=update), why=choice.why)


def _standard(family: Family | None) -> dict[str, ParameterValue]:
    return {row.name: row.standard for row in family.parameters} if family else {}


def _parameters(family: Family | None, written: Conditional) -> dict[str, ParameterValue]:
    """What no person sets is learned where the family says so, or where there are no parents for a network."""
    given = dict(written.parameters)
    if family is None:
        return given
    set_already = {family.head(name) for name in given}
    rows = [row for row in family.parameters if row.name not in set_already]
    return given | {row.name: "learned" for row in rows if not written.parents or row.default == "learned"}


def _complete(spec: Spec, variables: Mapping[str, VariableNode], p: Side, q: Side) -> Spec:
    """The spec with every default in it, in the order of the text."""
    declared = {name: variable.model_copy(update=_options(variables[name])) for name, variable in spec.variables.items()}
    return spec.model_copy(update={"variables": declared, "p": _ordered(p, variables), "q": _ordered(q, variables)})


def _options(node: VariableNode) -> dict[str, object]:
    """The keys that belong to a variable's family alone, with their defaults."""
    if node.family is None:
        return {}
    options: dict[str, object] = {"soft": node.soft} if node.family.soft else {}
    return options | ({node.family.number.name: node.number} if node.family.number else {})


def _ordered(side: Side, names: Iterable[str]) -> dict[str, Conditional]:
    return {name: side.conditionals[name].conditional for name in names if name in side.conditionals}
