"""From Spec to ModelGraph: every name bound, every default filled in.

The verb is `resolve`: bind the variables, build both sides, let `structure` check them, and complete the spec. The first
mistake stops it, since the rest would be echoes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TypedDict

from graphvae.compiler import structure
from graphvae.compiler.computed import check_expressions, parsed, with_event, with_numbers
from graphvae.compiler.derive import derive
from graphvae.compiler.errors import Span
from graphvae.compiler.families import FAMILIES, Family
from graphvae.compiler.gradients import RELAXED, TEMPERATURE, Choice, check_draws, choose
from graphvae.compiler.graph import ConditionalNode, ModelGraph, PlateNode, Side, SideName, VariableNode
from graphvae.compiler.networks import check_networks, complete
from graphvae.compiler.order import arrange, flat
from graphvae.compiler.plugins import Plugin
from graphvae.compiler.spec import Conditional, Objective, ParameterValue, Spec, Variable
from graphvae.compiler.submodels import Imported, check_outer, import_submodels


def resolve(spec: Spec, plugin: Plugin | None = None) -> ModelGraph:
    """Bind a spec's names and complete it; a kind of network may be a class of the plugin.

    Raises SpecError at the first name, edge, parameter or coverage that cannot be, with its place in the text.
    """
    check_networks(spec, plugin)
    imported = import_submodels(spec, lambda inner: resolve(inner, plugin))
    plates = {
        name: PlateNode(name, plate.size, plate.active or "", plate.symbol or "", spec.key("plates", name))
        for name, plate in spec.plates.items()
    }
    plates |= imported.plates
    variables = {name: _declared(name, variable, spec) for name, variable in spec.variables.items()}
    structure.check_names(spec)
    variables |= imported.variables
    structure.check_observed(variables, spec)
    variables |= _defined_by_conditionals(spec, variables)
    structure.check_defined(variables, spec)
    structure.check_plates(plates, variables, spec)
    maker = _Maker(spec, plugin, imported, plates, variables)
    p = maker.side("p", maker.conditionals("p"))
    written = maker.conditionals("q")
    derived, left_out = derive(spec, p, written, maker.variables, plates)
    q = maker.side("q", written | maker.derived(left_out, p))
    q = _with_gradients(q, p, spec.objective)
    variables = maker.variables
    found = tuple(each for each in (derived, *imported.derived) if each.conditionals)
    graph = ModelGraph(_complete(spec, variables, p, q), variables, p, q, plates, imported.submodels, found)
    structure.check_coverage(graph, spec)
    structure.check_declarations(graph)
    structure.check_layout(graph)
    check_draws(graph)
    objective = graph.spec.objective.model_copy(update={"samples": graph.spec.objective.samples or _samples(graph)})
    return replace(graph, spec=graph.spec.model_copy(update={"objective": objective}))


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
        symbol = variable.symbol or ""
        return VariableNode(name, "deterministic", None, event, span, plates=_plates_of(name, spec), symbol=symbol)
    family = FAMILIES[variable.distribution]
    categories = len(variable.values) if variable.values else variable.categories or 0
    return VariableNode(
        name=name,
        role=variable.role,
        family=family,
        event=(structure.stated_event(variable) or ()) + ((categories,) if family.simplex else ()),
        span=span,
        soft=bool(variable.soft),
        number=_number(family, variable),
        masked=variable.missing == "mask",
        plates=_in_order(variable.plates, spec),
        values=variable.values,
        collapse=variable.collapse is not None,
        symbol=variable.symbol or "",
    )


def _in_order(plates: Iterable[str], spec: Spec) -> tuple[str, ...]:
    """Plates from the outermost, in the order of the text; one that is not there keeps its place, and is found later."""
    order = list(spec.plates)
    return tuple(sorted(plates, key=lambda name: order.index(name) if name in order else len(order)))


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
                place = spec.key(side, name)
                found[name] = VariableNode(name, "deterministic", None, event, place, plates=_plates_of(name, spec))
    return found


def _plates_of(name: str, spec: Spec) -> tuple[str, ...]:
    """The plates of a deterministic variable, from wherever they are written first."""
    blocks = [spec.variables.get(name), *(conditionals.get(name) for _, conditionals in _sides(spec))]
    return next((_in_order(block.plates, spec) for block in blocks if block and block.plates), ())


def _sides(spec: Spec) -> list[tuple[SideName, Mapping[str, Conditional]]]:
    return [("p", spec.p), ("q", spec.q.conditionals)]


def _event_of_conditional(name: str, spec: Spec) -> tuple[int, ...]:
    """The shape of a deterministic variable; where both sides define it, `structure` has them agree."""
    defined = (conditionals[name] for _, conditionals in _sides(spec) if name in conditionals)
    return next((structure.deterministic_event(name, conditional, spec) for conditional in defined), None) or ()


@dataclass
class _Maker:
    """Makes the sides. The shapes of values that only an expression tells become known on the way."""

    spec: Spec
    plugin: Plugin | None
    imported: Imported
    plates: Mapping[str, PlateNode]
    variables: dict[str, VariableNode]

    def side(self, side: SideName, nodes: Mapping[str, ConditionalNode]) -> Side:
        """P or q, every conditional behind its parents, and complete."""
        units, inner = arrange(side, nodes), getattr(self.imported, side)
        made = {name: nodes[name] if name in inner else self.completed(side, nodes[name]) for name in flat(units)}
        return Side(side, made, units)

    def conditionals(self, side: SideName) -> dict[str, ConditionalNode]:
        """The conditionals that this text and its sub-models write, and the standard priors of p."""
        written = dict(_sides(self.spec))[side]
        inner: Mapping[str, ConditionalNode] = getattr(self.imported, side)
        nodes = {name: replace(node, **self.around(node.variable, node.parents)) for name, node in inner.items()}
        defined = {*written, *inner}
        nodes |= {name: self.bound(side, name, conditional, defined) for name, conditional in written.items()}
        if side == "p":
            missing = [name for name, node in self.variables.items() if node.inferred and name not in nodes]
            nodes |= {name: self.standard(self.variables[name]) for name in missing}
        structure.check_acyclic(side, {name: node.before for name, node in nodes.items()}, self.spec)
        return nodes

    def derived(self, left_out: Mapping[str, Conditional], p: Side) -> dict[str, ConditionalNode]:
        """What q leaves out; messages about it point at the conditional of p."""
        return {name: self.node(self.variables[name], each, p.conditionals[name].span) for name, each in left_out.items()}

    def bound(self, side: SideName, name: str, written: Conditional, defined: Collection[str]) -> ConditionalNode:
        """A conditional as it is written, with its names bound."""
        variable = self.variables[name]
        check_outer(side, name, written, self.imported, self.spec)
        structure.check_parents(side, variable, written, self.spec, self.variables, self.plates, defined)
        return self.node(variable, written, self.spec.key(side, name))

    def node(self, variable: VariableNode, written: Conditional, span: Span | None) -> ConditionalNode:
        """A conditional of the model itself, its family and its plates found."""
        family, number = variable.family, variable.number
        if written.distribution:
            family = FAMILIES[written.distribution]
            own = family.number is not None and not family.number.argument  # what bounds the values is the variable's
            number = _number(family, written) if own else variable.number
        node = ConditionalNode(variable, family, written, span, number)
        return replace(
            node,
            indices=tuple(parent.variable for parent in written.parents if parent.variable in self.plates),
            **self.around(variable, [parent.variable for parent in written.parents if not parent.previous]),
        )

    def standard(self, variable: VariableNode) -> ConditionalNode:
        """The standard prior."""
        return self.node(variable, Conditional(parameters=_standard(variable.family)), variable.span)

    def around(self, variable: VariableNode, parents: Iterable[str]) -> _Around:
        """The plates that a conditional gathers over, and the counts and slots of its plates."""
        reached = {plate for parent in parents if parent in self.variables for plate in self.variables[parent].plates}
        gathered = tuple(plate for plate in self.plates if plate in reached and plate not in variable.plates)
        counts = (self.plates[plate].count for plate in (*variable.plates, *gathered))
        return {
            "gathered": gathered,
            "counts": tuple(dict.fromkeys(count for count in counts if count)),
            "slots": prod(self.plates[plate].size for plate in variable.plates),
        }

    def completed(self, side: SideName, node: ConditionalNode) -> ConditionalNode:
        """A conditional with its expressions, its parameters and the widths of its network; its parents are completed."""
        node = with_numbers(replace(node, expressions=parsed(node)), self.variables, self.plates, self.plugin)
        name, written = node.variable.name, node.conditional
        if node.family is None:
            self.variables[name] = with_event(node, self.spec, self.variables, self.plates, self.plugin)
            node = replace(node, variable=self.variables[name])
        structure.check_conditional(side, node, self.spec)
        structure.check_slots(node, self.variables)
        check_expressions(node, self.variables, self.plates, self.plugin)
        node = replace(node, conditional=written.model_copy(update={"parameters": _parameters(node.family, written)}))
        if not node.heads and (node.family is not None or (written.value and not written.network)):
            return node
        stated = any(structure.stated_event(block) is not None for block in (written, self.spec.variables.get(name)))
        network = complete(node, self.variables, self.plates, stated)
        return replace(node, conditional=node.conditional.model_copy(update={"network": network}))


class _Around(TypedDict):
    gathered: tuple[str, ...]
    counts: tuple[str, ...]
    slots: int


def _with_gradients(q: Side, p: Side, objective: Objective) -> Side:
    chosen = choose(q, p, objective)
    made = {name: _drawn(node, chosen[name]) if name in chosen else node for name, node in q.conditionals.items()}
    return replace(q, conditionals=made)


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
    whole = spec.q.model_copy(update={"derive": None, "conditionals": _ordered(q, variables)})
    return spec.model_copy(update={"variables": declared, "p": _ordered(p, variables), "q": whole})


def _options(node: VariableNode) -> dict[str, object]:
    """The keys that belong to a variable's family alone, with their defaults."""
    if node.family is None:
        return {}
    options: dict[str, object] = {"soft": node.soft} if node.family.soft else {}
    return options | ({node.family.number.name: node.number} if node.family.number else {})


def _ordered(side: Side, names: Iterable[str]) -> dict[str, Conditional]:
    own = {name: node for name, node in side.conditionals.items() if not node.submodel}
    return {name: own[name].conditional for name in names if name in own}
