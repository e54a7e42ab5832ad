"""From Spec to ModelGraph: every name bound, every default filled in.

The verb is `resolve`: bind the variables, build both sides, let `structure` check them, and complete the spec. The first
mistake stops it, since the rest would be echoes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from graphvae.compiler import structure
from graphvae.compiler.dag import topological_order
from graphvae.compiler.families import FAMILIES, Family
from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side, SideName, VariableNode
from graphvae.compiler.spec import Conditional, Network, ParameterValue, Spec, Variable


def resolve(spec: Spec) -> ModelGraph:
    """Bind a spec's names and complete it.

    Raises SpecError at the first name, edge, parameter or coverage that cannot be, with its place in the text.
    """
    variables = {name: _declared(name, variable, spec) for name, variable in spec.variables.items()}
    structure.check_observed(variables, spec)
    variables |= _defined_by_conditionals(spec, variables)
    structure.check_defined(variables, spec)
    p, q = _side("p", spec, variables), _side("q", spec, variables)
    graph = ModelGraph(_complete(spec, variables, p, q), variables, p, q)
    structure.check_coverage(graph, spec)
    structure.check_declarations(graph)
    samples = graph.spec.objective.samples or (8 if any(map(graph.draws_before, graph.named("supervised"))) else 1)
    objective = graph.spec.objective.model_copy(update={"samples": samples})
    return ModelGraph(graph.spec.model_copy(update={"objective": objective}), variables, p, q)


def _declared(name: str, variable: Variable, spec: Spec) -> VariableNode:
    span = spec.key("variables", name)
    structure.check_variable(name, variable, span)
    if variable.distribution is None:
        stated = structure.stated_event(variable)
        event = _event_of_conditional(name, spec) if stated is None else stated
        return VariableNode(name, "deterministic", None, event, soft=False, span=span)
    family = FAMILIES[variable.distribution]
    event = (structure.stated_event(variable) or ()) + ((variable.categories or 0,) if family.simplex else ())
    return VariableNode(name, variable.role, family, event, bool(variable.soft), span)


def _defined_by_conditionals(spec: Spec, declared: Mapping[str, VariableNode]) -> dict[str, VariableNode]:
    """Deterministic variables that p or q defines without a line under `variables`."""
    found = {}
    for side, conditionals in _sides(spec):
        for name, conditional in conditionals.items():
            if name not in declared and name not in found:
                structure.check_definition(side, name, conditional, spec, declared)
                event = _event_of_conditional(name, spec)
                found[name] = VariableNode(name, "deterministic", None, event, soft=False, span=spec.key(side, name))
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
    order = [name for name in topological_order(parents) if name in nodes]
    return Side(side, {name: _node(side, variables[name], written.get(name), spec, variables) for name in order})


def _node(
    side: SideName, variable: VariableNode, written: Conditional | None, spec: Spec, variables: Mapping[str, VariableNode]
) -> ConditionalNode:
    if written is None:
        return ConditionalNode(variable, Conditional(parameters=_standard(variable.family)), variable.span)
    node = ConditionalNode(variable, written, spec.key(side, variable.name))
    inputs = sum(prod(variables[parent].event) for parent in node.parents)
    outputs = prod(variable.event) * max(1, len(node.heads))
    update: dict[str, object] = {"parameters": _parameters(node)}
    if node.heads or variable.family is None:
        update["network"] = _network(written.network, inputs, outputs)
    if side == "q" and variable.family is not None:
        update["gradient"] = written.gradient or variable.family.gradients[0]
    return ConditionalNode(variable, written.model_copy(update=update), node.span)


def _standard(family: Family | None) -> dict[str, ParameterValue]:
    return {row.name: row.standard for row in family.parameters} if family else {}


def _parameters(node: ConditionalNode) -> dict[str, ParameterValue]:
    """Without parents there is no network: what no number sets is learned."""
    written, family = dict(node.conditional.parameters), node.variable.family
    if family is None or node.parents:
        return written
    set_by_number = {family.head(name) for name in written}
    return written | {row.name: "learned" for row in family.parameters if row.name not in set_by_number}


def _network(written: Network | None, inputs: int, outputs: int) -> Network:
    network = written or Network()
    return network if network.hidden is not None else network.model_copy(update={"hidden": _widths(inputs, outputs)})


def _widths(inputs: int, outputs: int) -> tuple[int, int]:
    """Two layers as wide as the larger end, rounded up to a power of two between 32 and 512."""
    width = 1 << (max(inputs, outputs) - 1).bit_length()
    return (min(512, max(32, width)),) * 2


def _complete(spec: Spec, variables: Mapping[str, VariableNode], p: Side, q: Side) -> Spec:
    """The spec with every default in it, in the order of the text."""
    declared = {
        name: variable.model_copy(update={"soft": bool(variable.soft)}) if "soft" in _options(variables[name]) else variable
        for name, variable in spec.variables.items()
    }
    return spec.model_copy(update={"variables": declared, "p": _ordered(p, variables), "q": _ordered(q, variables)})


def _options(node: VariableNode) -> tuple[str, ...]:
    return node.family.options if node.family else ()


def _ordered(side: Side, names: Iterable[str]) -> dict[str, Conditional]:
    return {name: side.conditionals[name].conditional for name in names if name in side.conditionals}
