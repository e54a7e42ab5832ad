"""The rules of a model's structure, each a check that raises at the place in the text that breaks it.

`resolve` calls them in the order in which they can be understood: names first, then edges, then coverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import networkx as nx

from graphvae.compiler.errors import Span, SpecError, did_you_mean
from graphvae.compiler.families import FAMILIES, Family
from graphvae.compiler.graph import ModelGraph, SideName, VariableNode
from graphvae.compiler.spec import Conditional, LabelDraw, Spec, Variable


def check_presence(spec: Spec) -> None:
    """Until it can be derived, q must be written."""
    if spec.q is None:
        hint = "write q: one conditional for every latent and supervised variable, as in q: {style: [image, digit]}"
        raise SpecError.of("GV113", "q is missing, and deriving it from p is not built yet", spec.key("model"), hint)


def check_variable(name: str, variable: Variable, span: Span | None) -> None:
    """A family's own keys stand with that family alone, and a shape is given once."""
    family = FAMILIES.get(variable.distribution or "")
    if variable.size is not None and variable.shape is not None:
        raise SpecError.of("GV056", f"'{name}' has both a size and a shape", variable.key("shape"), "keep one of them")
    for option in ("categories", "soft"):
        if getattr(variable, option) is not None and (family is None or option not in family.options):
            owner = next(row.name for row in FAMILIES.values() if option in row.options)
            message = f"'{option}' belongs to the family {owner}, and '{name}' is {family.name if family else 'deterministic'}"
            raise SpecError.of("GV057", message, variable.key(option))
    if family is None and variable.role != "latent":
        message = f"'{name}' is {variable.role} and has no distribution"
        hint = "give it a distribution; a variable without one is computed, and never known"
        raise SpecError.of("GV057", message, variable.key("role"), hint)
    if family and family.simplex and variable.categories is None:
        raise SpecError.of("GV051", f"'{name}' is {family.name}: its number of 'categories' is missing", span)


def check_definition(
    side: SideName, name: str, conditional: Conditional, spec: Spec, declared: Mapping[str, VariableNode]
) -> None:
    """A name that is not under `variables` is a deterministic variable only if a network defines it."""
    if conditional.network is None:
        hint = did_you_mean(name, declared, "variables") + "\n(a deterministic variable is defined by a 'network')"
        raise SpecError.of("GV101", f"{side} has a conditional for the unknown variable '{name}'", spec.key(side, name), hint)


def stated_event(block: Variable | Conditional | None) -> tuple[int, ...]:
    """The shape that a block states, `()` if it states none."""
    if block is None or (block.shape is None and block.size is None):
        return ()
    return block.shape if block.shape is not None else (block.size or 0,)


def deterministic_event(name: str, conditional: Conditional, spec: Spec) -> tuple[int, ...]:
    """The shape of a deterministic variable: stated here, or under `variables`, or that of the last hidden layer."""
    hidden = conditional.network.hidden if conditional.network else None
    return stated_event(conditional) or stated_event(spec.variables.get(name)) or (hidden or ())[-1:]


def check_conditional(
    side: SideName, variable: VariableNode, conditional: Conditional, spec: Spec, variables: Mapping[str, VariableNode]
) -> None:
    """A conditional stands on the right side, names parents that are there, and sets parameters that its family has."""
    span = spec.key(side, variable.name)
    if variable.role == "given" or (side == "q" and variable.role == "observed"):
        message = f"'{variable.name}' is {variable.role}: {'it is an input of q' if side == 'q' else 'it is never scored'}"
        raise SpecError.of("GV106", f"{message}, and has no conditional in {side}", span)
    _check_parents(side, variable, conditional, spec, variables)
    if variable.family is None:
        _check_deterministic(side, variable, conditional, spec)
    else:
        _check_random(side, variable, variable.family, conditional, span)


def _check_parents(
    side: SideName, variable: VariableNode, conditional: Conditional, spec: Spec, variables: Mapping[str, VariableNode]
) -> None:
    seen = set()
    for index, parent in enumerate(conditional.parents):
        span = conditional.span("parents", index)
        if "." in str(parent):
            part = "'.previous'" if parent.previous else "sub-models"
            raise SpecError.of("GV113", f"'{parent}': {part} are not built yet", span)
        if parent.variable not in variables:
            message = f"'{variable.name}' has an unknown parent '{parent}' in {side}"
            raise SpecError.of("GV104", message, span, did_you_mean(parent.variable, variables, "variables"))
        if parent in seen:
            raise SpecError.of("GV103", f"'{variable.name}' names its parent '{parent}' twice", span)
        seen.add(parent)
        _check_available(side, variable.name, variables[parent.variable], span, spec)


def _check_available(side: SideName, child: str, parent: VariableNode, span: Span | None, spec: Spec) -> None:
    """A deterministic parent must be defined on the same side: each side computes its own."""
    here, there = (spec.p, "q") if side == "p" else (spec.q or {}, "p")
    if parent.role == "deterministic" and parent.name not in here:
        message = f"'{child}' has the parent '{parent.name}' in {side}, which only {there} defines"
        raise SpecError.of("GV105", message, span, f"define '{parent.name}' in {side} as well, or name its parents instead")


def _check_deterministic(side: SideName, variable: VariableNode, conditional: Conditional, spec: Spec) -> None:
    span = spec.key(side, variable.name)
    if conditional.network is None:
        raise SpecError.of("GV107", f"the deterministic '{variable.name}' has no network in {side}", span)
    if not conditional.parents:
        raise SpecError.of("GV107", f"the deterministic '{variable.name}' has no parents in {side}", span)
    for key in ("parameters", "gradient"):
        if getattr(conditional, key):
            raise SpecError.of("GV109", f"'{variable.name}' is deterministic and has no {key}", conditional.key(key))
    if conditional.size and conditional.shape:
        message = f"'{variable.name}' has both a size and a shape"
        raise SpecError.of("GV056", message, conditional.key("shape"), "keep one of them")
    event = deterministic_event(variable.name, conditional, spec)
    if not event:
        hint = "give a 'size' or a 'shape', or the widths of its 'hidden' layers"
        raise SpecError.of("GV107", f"the shape of '{variable.name}' is not known", span, hint)
    if event != variable.event:
        message = f"'{variable.name}' has the shape {list(event)} here and {list(variable.event)} elsewhere"
        raise SpecError.of("GV108", message, span, "p and q must agree on the shape of a variable that both define")


def _check_random(side: SideName, variable: VariableNode, family: Family, conditional: Conditional, span: Span | None) -> None:
    for key in ("size", "shape"):
        if getattr(conditional, key) is not None:
            hint = f"'{variable.name}' is random: its {key} stands under 'variables'"
            raise SpecError.of("GV106", f"a {key} may not stand here", conditional.key(key), hint)
    if conditional.gradient and side == "p":
        raise SpecError.of("GV110", "a gradient belongs in q, where the variables are drawn", conditional.key("gradient"))
    if conditional.gradient and conditional.gradient not in family.gradients:
        message = f"'{variable.name}' is {family.name} and cannot be drawn by '{conditional.gradient}'"
        hint = f"a {family.name} variable can be: {', '.join(family.gradients)}"
        raise SpecError.of("GV110", message, conditional.span("gradient"), hint)
    _check_parameters(variable.name, family, conditional)
    _check_network(variable.name, family, conditional)


def _check_parameters(name: str, family: Family, conditional: Conditional) -> None:
    set_by: dict[str, str] = {}
    for key, value in conditional.parameters.items():
        place = conditional.key("parameters", key)
        row = family.parameter(key)
        if row is None:
            hint = did_you_mean(key, [row.name for row in family.parameters], f"parameters of {family.name}")
            raise SpecError.of("GV109", f"'{name}' is {family.name}, which has no parameter '{key}'", place, hint)
        head = family.head(key)
        if head in set_by:
            raise SpecError.of("GV056", f"'{set_by[head]}' and '{key}' say the same", place, "keep one of them")
        set_by[head] = key
        if value == "learned":
            if head != key:
                raise SpecError.of("GV109", f"'{key}' takes a number", place, f"learn '{head}' instead")
        elif not row.low < value < row.high:
            bounds = f"greater than {row.low:g}" if row.high == float("inf") else f"between {row.low:g} and {row.high:g}"
            message = f"'{key}' of '{name}' must be {bounds}, and not {value:g}"
            raise SpecError.of("GV109", message, conditional.span("parameters", key))


def _check_network(name: str, family: Family, conditional: Conditional) -> None:
    all_set = {family.head(key) for key in conditional.parameters} >= {row.name for row in family.parameters}
    if conditional.network and not conditional.parents:
        raise SpecError.of("GV109", f"the network of '{name}' has no parents to compute from", conditional.key("network"))
    if conditional.parents and all_set:
        message = f"'{name}' has parents, and none of its parameters depends on them"
        raise SpecError.of(
            "GV109", message, conditional.key("parameters"), "leave a parameter to the network, or the parents out"
        )


def check_acyclic(side: SideName, graph: nx.DiGraph[str], spec: Spec) -> None:
    """A side is a DAG; a cycle is shown as its path."""
    try:
        cycle = [parent for parent, _ in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        return
    start = cycle.index(min(cycle))
    path = [*cycle[start:], *cycle[: start + 1]]
    child, parent = path[1], path[0]
    conditional = (spec.p if side == "p" else spec.q or {})[child]
    index = [reference.variable for reference in conditional.parents].index(parent)
    message = f"{side} has a cycle: {' -> '.join(path)}"
    raise SpecError.of("GV102", message, conditional.span("parents", index), "an arrow runs from a parent to its child")


def check_coverage(graph: ModelGraph) -> None:
    """Q covers what it must infer, p scores what is observed, and enumeration stays within its bound."""
    for name, node in graph.variables.items():
        if node.inferred and name not in graph.q.conditionals:
            message = f"q has no conditional for the {node.role} variable '{name}'"
            hint = f"write q: {{{name}: [PARENTS]}}; deriving it from p is not built yet"
            raise SpecError.of("GV107", message, node.span, hint)
        if node.role == "observed" and name not in graph.p.conditionals:
            raise SpecError.of("GV107", f"p has no conditional for the observed variable '{name}'", node.span)
        if node.role == "deterministic" and name not in {**graph.p.conditionals, **graph.q.conditionals}:
            hint = "give it a distribution, or define it in p or q by a network"
            raise SpecError.of("GV107", f"'{name}' has no distribution, and neither p nor q defines it", node.span, hint)
    _check_cells(graph)


def _check_cells(graph: ModelGraph) -> None:
    objective = graph.spec.objective
    enumerated = [node for node in graph.q.conditionals.values() if node.conditional.gradient == "enumerate"]
    counts = {
        node.variable.name: node.variable.family.cells(node.variable.event) for node in enumerated if node.variable.family
    }
    if prod(counts.values()) > objective.max_cells:
        product = " x ".join(f"{count} ({name})" for name, count in counts.items())
        message = f"enumerating needs {prod(counts.values()):,} cells: {product}; max_cells is {objective.max_cells}"
        largest = max(counts, key=lambda name: counts[name])
        raise SpecError.of("GV112", message, graph.variables[largest].span, "raise objective.max_cells if you mean it")


def check_declarations(graph: ModelGraph) -> None:
    """The objective and the data speak of variables in the right role."""
    objective = graph.spec.objective
    for key, role in (("alpha", "supervised"), ("beta", "latent")):
        weights = getattr(objective, key)
        for name in weights if isinstance(weights, dict) else ():
            _check_role(graph, name, (role,), objective.key(key, name), f"{key} weights {role} variables")
    if objective.gamma is not None and objective.supervision_rate is not None:
        raise SpecError.of("GV056", "gamma and supervision_rate are the same knob", objective.key("gamma"), "keep one of them")
    if graph.spec.data:
        _check_data(graph)


def _check_data(graph: ModelGraph) -> None:
    data = graph.spec.data
    assert data is not None
    roles = ("observed", "given", "supervised")
    for name in data.columns:
        _check_role(graph, name, roles, data.key("columns", name), "a column holds a variable that is known in some row")
    for name in graph.named(*roles):
        if name not in data.columns:
            message = f"the {graph.variables[name].role} variable '{name}' has no column in the data"
            raise SpecError.of("GV107", message, data.key("columns"), f"write columns: {{{name}: COLUMN}}")
    for draw in data.labels:
        _check_label_draw(graph, draw)


def _check_label_draw(graph: ModelGraph, draw: LabelDraw) -> None:
    for index, name in enumerate(draw.variables):
        _check_role(graph, name, ("supervised",), draw.span("variables", index), "labels are drawn for supervised variables")
    amounts = [key for key in ("rows", "fraction", "rows_per") if getattr(draw, key) is not None]
    if len(amounts) != 1:
        said = f"{' and '.join(amounts)} exclude each other" if amounts else "how many rows to draw is not said"
        raise SpecError.of("GV056", said, draw.span() or draw.span("variables"), "give one of: rows, fraction, rows_per")
    categories = [name for name in draw.variables if _is_discrete(graph, name)]
    if draw.balanced and (len(categories) != 1 or draw.rows_per):
        message = "a balanced draw has rows or a fraction, and exactly one discrete variable"
        raise SpecError.of("GV305", message, draw.key("balanced"))
    for name in draw.rows_per or {}:
        if len(draw.rows_per or {}) > 1 or name not in graph.variables or not _is_discrete(graph, name):
            message = "rows_per counts rows for each value of one discrete variable"
            raise SpecError.of("GV305", message, draw.key("rows_per", name), "as in rows_per: {digit: 10}")


def _is_discrete(graph: ModelGraph, name: str) -> bool:
    family = graph.variables[name].family
    return family is not None and family.discrete


def _check_role(graph: ModelGraph, name: str, roles: tuple[str, ...], span: Span | None, reason: str) -> None:
    fitting = graph.named(*roles)
    if name not in graph.variables:
        raise SpecError.of("GV111", f"unknown variable '{name}'", span, did_you_mean(name, fitting, "choices"))
    if name not in fitting:
        role = graph.variables[name].role
        raise SpecError.of("GV111", f"'{name}' is {role}: {reason}", span, did_you_mean(name, fitting, "choices"))
