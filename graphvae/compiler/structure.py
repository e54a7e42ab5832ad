"""The rules of a model's structure, each a check that raises at the place in the text that breaks it.

`resolve` calls them in the order in which they can be understood: names first, then edges, then coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from graphvae.compiler.dag import Parents, find_cycle
from graphvae.compiler.data_rules import check_data, check_role
from graphvae.compiler.errors import Span, SpecError, closest, did_you_mean
from graphvae.compiler.families import FAMILIES, INFINITY, Family
from graphvae.compiler.graph import ModelGraph, SideName, VariableNode
from graphvae.compiler.spec import Conditional, Schedule, Spec, Variable

_NETWORK = "{name}: {{parents: [PARENTS], network: {{hidden: [WIDTH]}}}}"
_OPTIONS = ("categories", "soft", "total_count", "levels", "components", "rank")


def check_variable(name: str, variable: Variable, span: Span | None) -> None:
    """A family's own keys stand with that family alone, and a shape is given once."""
    family = FAMILIES.get(variable.distribution or "")
    if variable.size is not None and variable.shape is not None:
        raise SpecError.of("GV056", f"'{name}' has both a size and a shape", variable.key("shape"), "keep one of them")
    if family is None and variable.role != "latent":
        message = f"'{name}' is {variable.role} and has no distribution"
        hint = "give it a distribution; a variable without one is computed, and never known"
        raise SpecError.of("GV057", message, variable.key("role"), hint)
    for option in _OPTIONS:
        if getattr(variable, option) is not None and (family is None or option not in family.options):
            owners = [row.name for row in FAMILIES.values() if option in row.options]
            owner = f"the famil{'ies' if len(owners) > 1 else 'y'} {' and '.join(owners)}"
            message = f"'{option}' belongs to {owner}, and '{name}' is {family.name if family else 'deterministic'}"
            hint = "leave it out" if family else f"leave it out, or write distribution: {owners[0]}"
            raise SpecError.of("GV057", message, variable.key(option), hint)
    if family:
        _check_family(name, family, variable, span)
    if variable.missing and variable.role != "observed":
        message = f"'missing' belongs to observed variables, and '{name}' is {variable.role}"
        hint = "a supervised variable may be empty anyway: q infers it" if variable.role == "supervised" else "leave it out"
        raise SpecError.of("GV057", message, variable.key("missing"), hint)


def _check_family(name: str, family: Family, variable: Variable, span: Span | None) -> None:
    """What a family cannot do without: categories, a whole number, the length of a vector."""
    if family.simplex and variable.categories is None:
        message = f"'{name}' is {family.name}, and the number of its categories is missing"
        raise SpecError.of("GV051", message, span, "write how many values it has, as in categories: 10")
    if family.number and family.number.default is None and getattr(variable, family.number.name) is None:
        message = f"'{name}' is {family.name}, and '{family.number.name}' is missing"
        raise SpecError.of("GV051", message, span, f"write it, as in {family.number.name}: 10")
    event = stated_event(variable)
    if family.vector and not event:
        message = f"'{name}' is {family.name}, which is a distribution over vectors, and its size is missing"
        raise SpecError.of("GV051", message, span, "write how long it is, as in size: 2")
    _check_rank(name, variable, event)


def _check_rank(name: str, block: Variable | Conditional, event: tuple[int, ...] | None) -> None:
    """More common causes than coordinates say nothing more."""
    if block.rank is not None and event and block.rank > event[-1]:
        message = f"the rank of '{name}' should be at most its length, {event[-1]}, and not {block.rank}"
        raise SpecError.of("GV053", message, block.span("rank"))


def check_observed(variables: Mapping[str, VariableNode], spec: Spec) -> None:
    """A row must show something, or there is nothing to learn from it."""
    if not any(node.role == "observed" for node in variables.values()):
        hint = "give what the data shows in every row the 'role: observed'"
        raise SpecError.of("GV114", "no variable is observed", spec.key("variables"), hint)


def check_definition(
    side: SideName, name: str, conditional: Conditional, spec: Spec, declared: Mapping[str, VariableNode]
) -> None:
    """A name that is not under `variables` is a deterministic variable only if a network defines it."""
    place = spec.key(side, name)
    if "." in name:
        raise SpecError.of("GV113", f"'{name}': sub-models are not built yet", place)
    if conditional.network is None:
        hint = did_you_mean(name, declared, "variables") + "\n(a deterministic variable is defined by a 'network')"
        raise SpecError.of("GV101", f"{side} has a conditional for the unknown variable '{name}'", place, hint)


def check_defined(variables: Mapping[str, VariableNode], spec: Spec) -> None:
    """What has no distribution is defined by p or by q."""
    for name, node in variables.items():
        if node.role == "deterministic" and name not in spec.p and name not in (spec.q or {}):
            hint = f"give it a distribution, or define it in p or q: {_NETWORK.format(name=name)}"
            raise SpecError.of("GV107", f"'{name}' has no distribution, and neither p nor q defines it", node.span, hint)


def stated_event(block: Variable | Conditional | None) -> tuple[int, ...] | None:
    """The shape that a block states, None if it states none."""
    if block is None or (block.shape is None and block.size is None):
        return None
    return block.shape if block.shape is not None else (block.size or 0,)


def deterministic_event(name: str, conditional: Conditional, spec: Spec) -> tuple[int, ...] | None:
    """The shape of a deterministic variable: stated here, or under `variables`, or that of the last hidden layer."""
    for block in (conditional, spec.variables.get(name)):
        if (event := stated_event(block)) is not None:
            return event
    hidden = conditional.network.hidden if conditional.network else None
    return hidden[-1:] if hidden else None


def check_conditional(
    side: SideName, variable: VariableNode, conditional: Conditional, spec: Spec, variables: Mapping[str, VariableNode]
) -> None:
    """A conditional stands on the right side, names parents that are there, and sets parameters that its family has."""
    span = spec.key(side, variable.name)
    if variable.role == "given" or (side == "q" and variable.role == "observed"):
        reason = "q conditions on it" if side == "q" else "p conditions on it, and never scores it"
        message = f"'{variable.name}' is {variable.role}, and cannot have a conditional in {side}: {reason}"
        raise SpecError.of("GV106", message, span, "leave it out")
    _check_parents(side, variable, conditional, spec, variables)
    family = _family_of(side, variable, variable.family, conditional) if variable.family else None
    _check_numbers(variable.name, family, conditional)
    if family is None:
        _check_deterministic(side, variable, conditional, spec)
    else:
        _check_random(side, variable, family, conditional)


def _check_parents(
    side: SideName, variable: VariableNode, conditional: Conditional, spec: Spec, variables: Mapping[str, VariableNode]
) -> None:
    seen = set()
    for index, parent in enumerate(conditional.parents):
        span = conditional.span("parents", index)
        if "." in str(parent):
            part = "slots" if parent.previous else "sub-models"
            raise SpecError.of("GV113", f"'{parent}': {part} are not built yet", span)
        if parent.variable not in variables:
            message = f"'{variable.name}' has an unknown parent '{parent}' in {side}"
            raise SpecError.of("GV104", message, span, did_you_mean(parent.variable, variables, "variables"))
        if parent in seen:
            raise SpecError.of("GV103", f"'{variable.name}' names its parent '{parent}' twice", span, "leave one of them out")
        seen.add(parent)
        _check_available(side, variable.name, variables[parent.variable], span, spec)
        if side == "p" and variables[parent.variable].masked:
            message = f"'{variable.name}' has the parent '{parent}' in p, some of which may be missing"
            hint = f"make '{parent}' supervised, with a conditional in q that infers what is missing"
            raise SpecError.of("GV105", message, span, hint)


def _check_available(side: SideName, child: str, parent: VariableNode, span: Span | None, spec: Spec) -> None:
    """A deterministic parent must be defined on the same side: each side computes its own."""
    here, there = (spec.p, "q") if side == "p" else (spec.q or {}, "p")
    if parent.role == "deterministic" and parent.name not in here:
        message = f"'{child}' has the parent '{parent.name}' in {side}, which only {there} defines"
        raise SpecError.of("GV105", message, span, f"define '{parent.name}' in {side} as well, or name its parents instead")


def _check_deterministic(side: SideName, variable: VariableNode, conditional: Conditional, spec: Spec) -> None:
    name, span = variable.name, spec.key(side, variable.name)
    if conditional.network is None:
        hint = f"write {_NETWORK.format(name=name)}, or give it a distribution under 'variables'"
        raise SpecError.of("GV107", f"'{name}' is deterministic and has no network in {side}", span, hint)
    if not conditional.parents:
        message = f"'{name}' is deterministic and has no parents in {side}"
        raise SpecError.of("GV107", message, span, f"write {_NETWORK.format(name=name)}")
    for key in ("parameters", "gradient", "distribution", "temperature"):
        if getattr(conditional, key):
            message = f"'{name}' is deterministic and has no {key}"
            raise SpecError.of("GV109", message, conditional.key(key), "leave the key out")
    if conditional.size is not None and conditional.shape is not None:
        raise SpecError.of("GV056", f"'{name}' has both a size and a shape", conditional.key("shape"), "keep one of them")
    event = deterministic_event(name, conditional, spec)
    if event is None:
        hint = "give a 'size' or a 'shape', or the widths of its 'hidden' layers"
        raise SpecError.of("GV107", f"the shape of '{name}' is not known", conditional.key("network"), hint)
    if event != variable.event:
        message = f"'{name}' has the shape {list(event)} in {side}, and {list(variable.event)} elsewhere"
        raise SpecError.of("GV108", message, span, "a variable has one shape, wherever it is defined")


def _check_random(side: SideName, variable: VariableNode, family: Family, conditional: Conditional) -> None:
    for key in ("size", "shape"):
        if getattr(conditional, key) is not None:
            message = f"'{variable.name}' is random: its {key} cannot stand here"
            raise SpecError.of("GV106", message, conditional.key(key), f"write the {key} under 'variables'")
    for key in ("gradient", "temperature"):
        if getattr(conditional, key) is not None and side == "p":
            message = f"the {key} of '{variable.name}' cannot stand in p: variables are drawn in q"
            raise SpecError.of("GV110", message, conditional.key(key), "leave it out, or write it in q")
    if conditional.gradient and conditional.gradient not in family.gradients:
        message = f"'{variable.name}' is {family.name} and cannot be drawn by '{conditional.gradient}'"
        hint = f"a {family.name} variable can be: {', '.join(family.gradients)}"
        raise SpecError.of("GV110", message, conditional.span("gradient"), hint)
    _check_parameters(side, variable, family, conditional)
    _check_network(variable.name, family, conditional)


def _check_numbers(name: str, family: Family | None, conditional: Conditional) -> None:
    """A conditional states the whole number of a family that it names itself."""
    for key in ("components", "rank"):
        needs = conditional.distribution is not None and family is not None and family.number and family.number.name == key
        if getattr(conditional, key) is not None and not needs:
            owner = next(row.name for row in FAMILIES.values() if row.number and row.number.name == key)
            message = f"'{key}' of '{name}' belongs to a conditional of q that says distribution: {owner}"
            raise SpecError.of("GV057", message, conditional.key(key), "leave it out, or write it under 'variables'")


def _family_of(side: SideName, variable: VariableNode, family: Family, conditional: Conditional) -> Family:
    """The family on this side: in q it may be another one over the same support."""
    if conditional.distribution is None:
        return family
    span, other = conditional.span("distribution"), FAMILIES[conditional.distribution]
    if side == "p":
        message = f"the family of '{variable.name}' in p stands under 'variables'"
        raise SpecError.of("GV106", message, conditional.key("distribution"), "write it there, or leave it out")
    if other.support != family.support:
        fitting = ", ".join(row.name for row in FAMILIES.values() if row.support == family.support)
        message = f"'{variable.name}' is {family.name} ({family.support}) in p, and {other.name} ({other.support}) in q"
        raise SpecError.of("GV108", message, span, f"the families over the same support are: {fitting}")
    if other.number and not other.number.argument and getattr(conditional, other.number.name) is None:
        message = f"'{variable.name}' is {other.name} in q, and '{other.number.name}' is missing"
        raise SpecError.of("GV051", message, span, f"write it beside the distribution, as in {other.number.name}: 3")
    if other.vector and not variable.event:
        message = f"'{variable.name}' is a scalar, and {other.name} is a distribution over vectors"
        raise SpecError.of("GV108", message, span, "give it a size: 1, or another family")
    _check_rank(variable.name, conditional, variable.event)
    return other


def _check_parameters(side: SideName, variable: VariableNode, family: Family, conditional: Conditional) -> None:
    name, set_by = variable.name, dict[str, str]()
    for key, value in conditional.parameters.items():
        place, span = conditional.key("parameters", key), conditional.span("parameters", key)
        row = family.parameter(key)
        if row is None:
            hint = did_you_mean(key, [row.name for row in family.parameters], f"parameters of {family.name}")
            raise SpecError.of("GV109", f"'{name}' is {family.name}, which has no parameter '{key}'", place, hint)
        head = family.head(key)
        if head in set_by:
            message = f"'{set_by[head]}' and '{key}' of '{name}' set the same parameter"
            raise SpecError.of("GV056", message, place, "keep one of them")
        set_by[head] = key
        if isinstance(value, str):
            if head != key:
                message = f"'{key}' of '{name}' must be a number, and not {value}"
                raise SpecError.of("GV109", message, span, f"write {head}: {value}")
        elif not row.allows(value):
            bounds = f"greater than {row.low:g}" if row.high == INFINITY else f"between {row.low:g} and {row.high:g}"
            raise SpecError.of("GV109", f"'{key}' of '{name}' must be {bounds}, and not {value:g}", span)
    _check_interval(side, variable, family, conditional)


def _check_interval(side: SideName, variable: VariableNode, family: Family, conditional: Conditional) -> None:
    """The uniform prior of what q infers must cover all that q may draw."""
    if family.name != "uniform":
        return
    low, high = (conditional.parameters.get(key, standard) for key, standard in (("low", 0.0), ("high", 1.0)))
    if isinstance(low, float) and isinstance(high, float) and low >= high:
        message = f"the interval of '{variable.name}' is empty: low is {low:g} and high is {high:g}"
        raise SpecError.of("GV109", message, conditional.key("parameters"))
    whole = not conditional.parents and (low, high) == (0.0, 1.0) and len(conditional.parameters) == len(family.parameters)
    if side == "p" and variable.inferred and not whole:
        message = f"p's interval of '{variable.name}' may leave out what q draws, and its density is 0 there"
        hint = f"leave '{variable.name}' out of p, which gives it the interval from 0 to 1, or make it beta"
        raise SpecError.of("GV109", message, conditional.span(), hint)


def _check_network(name: str, family: Family, conditional: Conditional) -> None:
    given = {family.head(key): value for key, value in conditional.parameters.items()}
    heads = [row.name for row in family.parameters if given.get(row.name, row.default) == "head"]
    if conditional.network and not conditional.parents:
        message = f"the network of '{name}' has no parents to compute from"
        raise SpecError.of("GV109", message, conditional.key("network"), "name its parents, or leave the network out")
    if conditional.parents and not heads:
        message = f"'{name}' has parents, and none of its parameters depends on them"
        hint = "leave a parameter to the network, or the parents out"
        raise SpecError.of("GV109", message, conditional.key("parameters"), hint)
    for key, value in conditional.parameters.items():
        if value == "head" and not conditional.parents:
            message = f"'{key}' of '{name}' is to be a head, and there are no parents to compute it from"
            raise SpecError.of("GV109", message, conditional.span("parameters", key), "name its parents, or write learned")


def check_acyclic(side: SideName, parents: Parents, spec: Spec) -> None:
    """A side is a DAG; a cycle is shown as its path."""
    cycle = find_cycle(parents)
    if not cycle:
        return
    path = [*cycle, cycle[0]]
    parent, child = path[:2]
    conditional = (spec.p if side == "p" else spec.q or {})[child]
    index = [reference.variable for reference in conditional.parents].index(parent)
    message = f"{side} has a cycle: {' -> '.join(path)}" if len(cycle) > 1 else f"'{child}' is its own parent in {side}"
    raise SpecError.of("GV102", message, conditional.span("parents", index), "an arrow runs from a parent to its child")


def check_coverage(graph: ModelGraph, spec: Spec) -> None:
    """Q covers what it must infer, p scores what is observed, and something is learned."""
    for name, node in graph.variables.items():
        if node.role == "observed" and name not in graph.p.conditionals:
            hint = _stray(graph, "p", name) or f"write what it depends on, as in p: {{{name}: [PARENTS]}}"
            raise SpecError.of("GV107", f"p has no conditional for the observed variable '{name}'", node.span, hint)
        if node.inferred and spec.q is None:
            hint = "write q: {NAME: [PARENTS]} for every latent and supervised variable; deriving q from p is not built yet"
            raise SpecError.of("GV113", f"q is missing, and '{name}' is {node.role}", node.span, hint)
        if node.inferred and name not in graph.q.conditionals:
            message = f"q has no conditional for the {node.role} variable '{name}'"
            hint = f"write what it is inferred from, as in q: {{{name}: [PARENTS]}}; deriving it from p is not built yet"
            raise SpecError.of("GV107", message, node.span, _stray(graph, "q", name) or hint)
    _check_learned(graph)


def _check_learned(graph: ModelGraph) -> None:
    """A model that only states numbers has nothing to train."""
    conditionals = [node.conditional for side in (graph.p, graph.q) for node in side.conditionals.values()]
    if not any(row.network or "learned" in row.parameters.values() for row in conditionals):
        hint = "leave a parameter to a network, or write 'learned' in place of a number"
        raise SpecError.of("GV115", "nothing in this model is learned", graph.spec.key("p"), hint)


def _stray(graph: ModelGraph, side: SideName, name: str) -> str:
    """A hint where a misspelt name has become a deterministic variable of its own."""
    written = graph.p if side == "p" else graph.q
    other = closest(name, (other for other in written.conditionals if other not in graph.spec.variables))
    return f"'{other}' stands in {side}: did you mean '{name}'?" if other else ""


def check_declarations(graph: ModelGraph) -> None:
    """The objective and the data speak of variables in the right role."""
    objective = graph.spec.objective
    _check_schedules(graph)
    for key, role in (("alpha", "supervised"), ("beta", "latent")):
        weights = getattr(objective, key)
        for name in weights if isinstance(weights, dict) else ():
            check_role(graph, name, (role,), objective.key(key, name), f"{key} weighs {role} variables")
    if objective.gamma is not None and objective.supervision_rate is not None:
        message = "gamma and supervision_rate exclude each other: they say the same"
        raise SpecError.of("GV056", message, objective.key("gamma"), "keep one of them")
    if graph.spec.data:
        check_data(graph)


def _check_schedules(graph: ModelGraph) -> None:
    """A schedule says how it ends, and every number on its way may stand where it stands."""
    objective = graph.spec.objective
    weights = [
        value for key in (objective.alpha, objective.beta) for value in (key.values() if isinstance(key, dict) else [key])
    ]
    for value in weights:
        _check_schedule(value, "at least 0", lambda number: number >= 0)
    _check_schedule(objective.supervision_rate, "between 0 and 1", lambda number: 0 <= number <= 1)
    for node in graph.q.conditionals.values():
        _check_schedule(node.conditional.temperature, "greater than 0", lambda number: number > 0)


def _weights(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else [value]


def _check_schedule(value: object, bounds: str, allows: Callable[[float], bool]) -> None:
    if not isinstance(value, Schedule):
        return
    constant = value.schedule == "constant"
    for key, written in (("to", value.end), ("steps", value.steps)):
        if constant and written is not None:
            raise SpecError.of("GV056", f"a constant schedule has no '{key}'", value.key(key), "leave it out, or write linear")
        if not constant and written is None:
            message = f"a {value.schedule} schedule needs '{key}'"
            raise SpecError.of("GV051", message, value.span(), "as in {schedule: linear, from: 0, to: 1, steps: 1000}")
    for key, number in (("from", value.start), ("to", value.end)):
        if number is not None and not allows(number):
            raise SpecError.of("GV053", f"'{key}' should be {bounds}, and not {number:g}", value.span(key))
