"""The rules of a model's structure, each a check that raises at the place in the text that breaks it.

`resolve` calls them in the order in which they can be understood: names first, then edges, then coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import pairwise

from graphvae.compiler.dag import Parents, find_cycle
from graphvae.compiler.data_rules import check_data, check_role
from graphvae.compiler.errors import Span, SpecError, closest, did_you_mean
from graphvae.compiler.expression_shapes import EVENT_AXES
from graphvae.compiler.families import FAMILIES, INFINITY, Family
from graphvae.compiler.graph import ConditionalNode, ModelGraph, PlateNode, Side, SideName, VariableNode
from graphvae.compiler.spec import Conditional, Reference, Repeated, Schedule, Spec, Variable

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
    _check_values(name, variable)
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
    if family.simplex and variable.categories is None and variable.values is None:
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


def _check_values(name: str, variable: Variable) -> None:
    """The numbers that categories stand for are those of a categorical variable, in rising order."""
    if variable.values is None:
        return
    if variable.distribution != "categorical":
        message = f"'values' belongs to the family categorical, and '{name}' is {variable.distribution or 'deterministic'}"
        raise SpecError.of("GV057", message, variable.key("values"), "leave it out, or write distribution: categorical")
    if variable.categories is not None:
        raise SpecError.of("GV056", f"'{name}' has both categories and values", variable.key("values"), "keep one of them")
    if list(variable.values) != sorted(set(variable.values)):
        message = f"the values of '{name}' should rise"
        raise SpecError.of("GV053", message, variable.span("values"), "as in values: [1, 2, 3]")


def check_layout(graph: ModelGraph) -> None:
    """What has a place in pictures is a variable, a plate, whose index it is, or a sub-model."""
    names = [*graph.variables, *graph.plates, *graph.submodels]
    for name in graph.spec.layout:
        if name not in names:
            span = graph.spec.key("layout", name)
            raise SpecError.of(
                "GV101", f"'layout' has a place for the unknown '{name}'", span, did_you_mean(name, names, "names")
            )


def check_names(spec: Spec) -> None:
    """A plate, a sub-model, a variable and a key of q have different names."""
    for name in spec.plates:
        if name in spec.variables or name in spec.p or name in spec.q.conditionals:
            message = f"'{name}' is both a plate and a variable"
            raise SpecError.of("GV117", message, spec.key("plates", name), "give one of them another name")
        if name in ("sample", "row"):
            message = f"a plate cannot be called '{name}', since every model has an axis of that name"
            raise SpecError.of("GV117", message, spec.key("plates", name), "give it another name")
        if name in EVENT_AXES:
            message = f"a plate cannot be called '{name}', since expressions know an axis of every picture by that name"
            raise SpecError.of("GV117", message, spec.key("plates", name), "give it another name")
    for block, names in (("variables", spec.variables), ("p", spec.p)):
        if "derive" in names:
            message = "a variable cannot be called 'derive', since q has a key of that name"
            raise SpecError.of("GV055", message, spec.key(block, "derive"), "give it another name")
    for name, variable in spec.variables.items():
        check_plates_there(f"'{name}'", variable, spec)
        if variable.collapse and (variable.distribution is None or variable.role not in ("latent", "supervised")):
            kind = variable.role if variable.distribution else "deterministic"
            message = f"'collapse' is for variables that q infers, and '{name}' is {kind}"
            raise SpecError.of("GV117", message, variable.key("collapse"), "leave it out")
    for side in (spec.p, spec.q.conditionals):
        for name, conditional in side.items():
            check_plates_there(f"'{name}'", conditional, spec)


def check_plates_there(what: str, block: Repeated, spec: Spec) -> None:
    """The plates of a variable or a sub-model are there, and each is named once."""
    for plate in block.plates:
        if plate not in spec.plates:
            hint = did_you_mean(plate, spec.plates, "plates")
            raise SpecError.of("GV117", f"{what} is in an unknown plate '{plate}'", block.span("plate"), hint)
    if len(set(block.plates)) < len(block.plates):
        raise SpecError.of("GV117", f"{what} names a plate twice", block.span("plate"), "leave one of them out")


def check_plates(plates: Mapping[str, PlateNode], variables: Mapping[str, VariableNode], spec: Spec) -> None:
    """What counts the active slots of a plate is a variable outside of it, whose values are counts and fit into it."""
    for name, block in spec.plates.items():
        if not block.active:
            continue
        count, span = variables.get(block.active), block.span("active")
        if count is None:
            hint = did_you_mean(block.active, variables, "variables")
            raise SpecError.of(
                "GV117", f"the slots of '{name}' are counted by the unknown variable '{block.active}'", span, hint
            )
        whole = count.family is not None and (count.family.simplex or count.family.support in ("counts", "counts to a total"))
        if not whole or count.elements:
            message = f"'{count.name}' is no single whole number, and cannot count the slots of '{name}'"
            raise SpecError.of("GV117", message, span, "make it categorical, with values: [1, 2, 3], or binomial")
        if count.family and not count.family.finite:
            message = f"'{count.name}' is {count.family.name}, which has no largest value, and '{name}' has {block.size} slots"
            hint = f"make it categorical, with values: [1, 2, 3], or binomial, with total_count: {block.size}"
            raise SpecError.of("GV117", message, span, hint)
        if name in count.plates:
            raise SpecError.of("GV117", f"'{count.name}' is in the plate '{name}', whose slots it counts", span)
        most = max(count.numbers) if count.event else count.number
        if most > block.size:
            slots = f"{block.size} slot{'s' * (block.size > 1)}"
            message = f"'{count.name}' counts up to {most}, and '{name}' has {slots}"
            raise SpecError.of("GV117", message, block.span("size"), f"write size: {most}, or smaller values")
        _check_counted(name, count, variables)


def _check_counted(plate: str, count: VariableNode, variables: Mapping[str, VariableNode]) -> None:
    """A count that is a number for every slot of another plate counts nothing for what is not in that plate."""
    for node in variables.values():
        outside = [other for other in count.plates if plate in node.plates and other not in node.plates]
        if outside:
            message = f"'{node.name}' is in '{plate}', whose slots '{count.name}' counts anew in every slot of '{outside[0]}'"
            hint = f"put '{node.name}' in that plate, too: plate: [{', '.join([*outside, *node.plates])}]"
            raise SpecError.of("GV117", message, node.span, hint)


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
    """A name that is not under `variables` is a deterministic variable only if a network or an expression defines it."""
    place = spec.key(side, name)
    if "." in name or (conditional.network is None and conditional.value is None):
        hint = did_you_mean(name, declared, "variables") + "\n(a deterministic variable is defined by a 'network' or a 'value')"
        raise SpecError.of("GV101", f"{side} has a conditional for the unknown variable '{name}'", place, hint)


def check_defined(variables: Mapping[str, VariableNode], spec: Spec) -> None:
    """What has no distribution is defined by p or by q."""
    for name, node in variables.items():
        own = name in spec.variables
        if own and node.role == "deterministic" and name not in spec.p and name not in spec.q.conditionals:
            hint = f"give it a distribution, or define it in p or q: {_NETWORK.format(name=name)}"
            raise SpecError.of("GV107", f"'{name}' has no distribution, and neither p nor q defines it", node.span, hint)


def stated_event(block: Variable | Conditional | None) -> tuple[int, ...] | None:
    """The shape that a block states, None if it states none."""
    if block is None or (block.shape is None and block.size is None):
        return None
    return block.shape if block.shape is not None else (block.size or 0,)


def deterministic_event(name: str, conditional: Conditional, spec: Spec) -> tuple[int, ...] | None:
    """The shape of a deterministic variable: stated here, or under `variables`, or that of its network's last hidden layer."""
    for block in (conditional, spec.variables.get(name)):
        if (event := stated_event(block)) is not None:
            return event
    if conditional.network is None or conditional.value is not None:
        return None
    if conditional.network.kind == "gru":
        return (conditional.network.size,) if conditional.network.size else None
    return conditional.network.hidden[-1:] if conditional.network.hidden else None


def check_parents(
    side: SideName,
    variable: VariableNode,
    conditional: Conditional,
    spec: Spec,
    variables: Mapping[str, VariableNode],
    plates: Mapping[str, PlateNode],
    defined: Collection[str],
) -> None:
    """A conditional stands on the right side, and its parents are there, in plates that it can reach.

    `defined` are the variables that have a conditional on this side.
    """
    if variable.role == "given" or (side == "q" and variable.role == "observed"):
        reason = "q conditions on it" if side == "q" else "p conditions on it, and never scores it"
        message = f"'{variable.name}' is {variable.role}, and cannot have a conditional in {side}: {reason}"
        raise SpecError.of("GV106", message, spec.key(side, variable.name), "leave it out")
    if conditional.plates:
        _check_place(variable, conditional)
    seen = set()
    for index, parent in enumerate(conditional.parents):
        span = conditional.span("parents", index)
        if parent in seen:
            raise SpecError.of("GV103", f"'{variable.name}' names its parent '{parent}' twice", span, "leave one of them out")
        seen.add(parent)
        if parent.variable in plates:
            _check_index(variable, parent, span)
        elif parent.variable not in variables:
            message = f"'{variable.name}' has an unknown parent '{parent}' in {side}"
            raise SpecError.of("GV104", message, span, did_you_mean(parent.variable, variables, "variables"))
        else:
            _check_parent(side, variable, parent, span, variables, defined)


def _check_place(variable: VariableNode, conditional: Conditional) -> None:
    """The plates of a variable are those under `variables`; only a computed one may have them here, the same on both sides."""
    if variable.role != "deterministic":
        message = f"'{variable.name}' is random: its plate cannot stand here"
        raise SpecError.of("GV117", message, conditional.key("plate"), "write the plate under 'variables'")
    if {*conditional.plates} != {*variable.plates}:
        elsewhere, here = _named_plates(variable.plates), _named_plates(conditional.plates)
        message = f"'{variable.name}' is in {elsewhere} elsewhere, and in {here} here"
        raise SpecError.of("GV117", message, conditional.span("plate"), "a variable has one place, wherever it is defined")


def _named_plates(plates: tuple[str, ...]) -> str:
    return f"the plate{'s' * (len(plates) > 1)} {', '.join(sorted(plates))}" if plates else "no plate"


def _check_index(variable: VariableNode, parent: Reference, span: Span | None) -> None:
    """A plate as a parent is the index of the slot."""
    if parent.previous:
        raise SpecError.of("GV118", f"'{parent.variable}' is a plate, and has no slot before", span, "name a variable in it")
    if parent.variable not in variable.plates:
        message = f"'{variable.name}' has the index of '{parent}' for a parent, and is not in that plate"
        raise SpecError.of("GV117", message, span, f"write plate: {parent}, or leave it out")


def _check_parent(
    side: SideName,
    variable: VariableNode,
    parent: Reference,
    span: Span | None,
    variables: Mapping[str, VariableNode],
    defined: Collection[str],
) -> None:
    other = variables[parent.variable]
    _check_available(side, variable.name, other, span, defined)
    if side == "p" and other.masked:
        message = f"'{variable.name}' has the parent '{parent}' in p, some of which may be missing"
        hint = f"make '{parent}' supervised, with a conditional in q that infers what is missing"
        raise SpecError.of("GV105", message, span, hint)
    if parent.previous and (
        not variable.plates or other.plates[-1:] != variable.plates[-1:] or {*other.plates} - {*variable.plates}
    ):
        message = f"'{parent}' is of a slot before, and '{variable.name}' and '{other.name}' are not in one plate"
        places = f"'{variable.name}' is in {_named_plates(variable.plates)}, '{other.name}' in {_named_plates(other.plates)}"
        if other is variable:
            message = f"'{parent}' is of a slot before, and '{other.name}' is in no plate"
            places = "write its plate under 'variables'"
        raise SpecError.of("GV118", message, span, places)


def _check_available(side: SideName, child: str, parent: VariableNode, span: Span | None, defined: Collection[str]) -> None:
    """A deterministic parent must be defined on the same side: each side computes its own."""
    there = "q" if side == "p" else "p"
    if parent.role == "deterministic" and parent.name not in defined:
        message = f"'{child}' has the parent '{parent.name}' in {side}, which only {there} defines"
        raise SpecError.of("GV105", message, span, f"define '{parent.name}' in {side} as well, or name its parents instead")


def check_conditional(side: SideName, node: ConditionalNode, spec: Spec) -> None:
    """A conditional sets parameters that its family has, or says how its value is computed."""
    variable, conditional, family = node.variable, node.conditional, node.family
    if conditional.distribution is not None and variable.family is not None:
        _check_family_of(side, variable, variable.family, conditional)
    _check_numbers(variable.name, family, conditional)
    if family is None:
        _check_deterministic(side, node, spec)
    else:
        _check_random(side, node, family)
    _check_gathered(node)


def check_slots(node: ConditionalNode, variables: Mapping[str, VariableNode]) -> None:
    """A deterministic variable is in a plate only if it differs from slot to slot."""
    reached = {plate for name in (*node.parents, *node.previous) for plate in variables[name].plates} | {*node.indices}
    for plate in node.variable.plates:
        if node.family is None and plate not in reached:
            message = f"'{node.variable.name}' is the same in every slot of '{plate}': none of its parents is in that plate"
            hint = f"leave the plate out, or name {plate}, its index, among the parents"
            raise SpecError.of("GV117", message, node.span, hint)


def _check_gathered(node: ConditionalNode) -> None:
    """What is in a plate that the variable is not in is gathered by a network's pool, or by an expression."""
    network, name = node.conditional.network, node.variable.name
    computed = node.heads or (node.family is None and network)
    if len(node.gathered) > 1 and node.counts and network and network.pool:
        message = f"the network of '{name}' gathers over {_named_plates(node.gathered)} at once, and a count is among them"
        raise SpecError.of("GV117", message, network.key("pool"), "gather one at a time, in a variable of its own")
    if network and network.pool and not node.gathered:
        message = f"'{name}' has no parent to pool: all are in its own plates"
        raise SpecError.of("GV117", message, network.key("pool"), "leave it out")
    if computed and node.gathered and not (network and network.pool):
        hint = "write network: {pool: mean} (or sum, max, attention), or an expression that gathers it, as in sum(NAME, PLATE)"
        message = f"a parent of '{name}' is in {_named_plates(node.gathered)}, which '{name}' is not in"
        raise SpecError.of("GV117", message, node.conditional.key("parents") or node.span, hint)


def _check_deterministic(side: SideName, node: ConditionalNode, spec: Spec) -> None:
    variable, conditional = node.variable, node.conditional
    name, span = variable.name, spec.key(side, variable.name)
    if conditional.network is None and conditional.value is None:
        hint = f"write {_NETWORK.format(name=name)}, or give it a distribution under 'variables'"
        raise SpecError.of("GV107", f"'{name}' is deterministic and has no network or value in {side}", span, hint)
    if not conditional.parents and (conditional.network or conditional.value is None):
        message = f"'{name}' is deterministic and has no parents in {side}"
        raise SpecError.of("GV107", message, span, f"write {_NETWORK.format(name=name)}")
    for key in ("parameters", "gradient", "distribution", "temperature"):
        if getattr(conditional, key):
            message = f"'{name}' is deterministic and has no {key}"
            raise SpecError.of("GV109", message, conditional.key(key), "leave the key out")
    if conditional.size is not None and conditional.shape is not None:
        raise SpecError.of("GV056", f"'{name}' has both a size and a shape", conditional.key("shape"), "keep one of them")
    if conditional.network and conditional.network.kind == "gru":
        _check_gru(node)
    event = deterministic_event(name, conditional, spec)
    if event is None and conditional.value is None:
        hint = "give a 'size' or a 'shape', or the widths of its 'hidden' layers"
        raise SpecError.of("GV107", f"the shape of '{name}' is not known", conditional.key("network"), hint)
    if event is not None and event != variable.event:
        message = f"'{name}' has the shape {list(event)} in {side}, and {list(variable.event)} elsewhere"
        raise SpecError.of("GV108", message, span, "a variable has one shape, wherever it is defined")


def _check_gru(node: ConditionalNode) -> None:
    """A recurrent unit has a size, and its own state in the slot before among its parents."""
    name, network = node.variable.name, node.conditional.network
    assert network is not None
    if network.size is None:
        raise SpecError.of("GV051", f"the gru of '{name}' needs its size", network.span("kind"), "as in {kind: gru, size: 256}")
    if name not in node.previous:
        message = f"the gru of '{name}' does not see its own state in the slot before"
        raise SpecError.of("GV116", message, network.span("kind"), f"write {name}.previous among its parents")
    if node.conditional.value is not None or not set(node.conditional.parents) - {Reference(name, previous=True)}:
        message = f"the gru of '{name}' needs a parent beside its own state, and its value is that state"
        raise SpecError.of("GV116", message, network.span("kind"), "name what it reads, and leave 'value' out")
    if node.variable.event != (network.size,):
        message = f"'{name}' has the shape {list(node.variable.event)}, and its gru a state of size {network.size}"
        raise SpecError.of("GV108", message, network.span("size"), "leave the shape out: it follows from the gru")


def _check_random(side: SideName, node: ConditionalNode, family: Family) -> None:
    variable, conditional = node.variable, node.conditional
    if conditional.value is not None:
        message = f"'{variable.name}' is random, and has no 'value' but parameters"
        hint = "write parameters: {NAME: EXPRESSION}, or leave its distribution out"
        raise SpecError.of("GV109", message, conditional.key("value"), hint)
    if conditional.network and conditional.network.kind == "gru":
        message = f"a gru gives a state, and '{variable.name}' is random"
        hint = "make the state a deterministic variable of its own, and a parent of this one"
        raise SpecError.of("GV116", message, conditional.network.span("kind"), hint)
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
    _check_network(node, family)


def _check_numbers(name: str, family: Family | None, conditional: Conditional) -> None:
    """A conditional states the whole number of a family that it names itself."""
    for key in ("components", "rank"):
        needs = conditional.distribution is not None and family is not None and family.number and family.number.name == key
        if getattr(conditional, key) is not None and not needs:
            owner = next(row.name for row in FAMILIES.values() if row.number and row.number.name == key)
            message = f"'{key}' of '{name}' belongs to a conditional of q that says distribution: {owner}"
            raise SpecError.of("GV057", message, conditional.key(key), "leave it out, or write it under 'variables'")


def _check_family_of(side: SideName, variable: VariableNode, family: Family, conditional: Conditional) -> None:
    """The family on this side: in q it may be another one over the same support."""
    assert conditional.distribution is not None
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
            if head != key and value in ("learned", "head"):
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


def _check_network(node: ConditionalNode, family: Family) -> None:
    name, conditional = node.variable.name, node.conditional
    given = {family.head(key): value for key, value in conditional.parameters.items()}
    heads = [row.name for row in family.parameters if given.get(row.name, row.default) == "head"]
    if conditional.network and not conditional.parents:
        message = f"the network of '{name}' has no parents to compute from"
        raise SpecError.of("GV109", message, conditional.key("network"), "name its parents, or leave the network out")
    if conditional.parents and not heads and not node.expressions:
        message = f"'{name}' has parents, and none of its parameters depends on them"
        hint = "leave a parameter to the network, or the parents out"
        raise SpecError.of("GV109", message, conditional.key("parameters"), hint)
    if conditional.network and not heads:
        message = f"the network of '{name}' has no parameter to compute"
        raise SpecError.of("GV109", message, conditional.key("network"), "leave it out, or write head for a parameter")
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
    message = f"{side} has a cycle: {' -> '.join(path)}" if len(cycle) > 1 else f"'{path[0]}' is its own parent in {side}"
    written = spec.p if side == "p" else spec.q.conditionals
    places = [_place_of_edge(written.get(child), parent) for parent, child in pairwise(path)]
    hint = "an arrow runs from a parent to its child" + ", and from a count to what is in its plates" * (None in places)
    raise SpecError.of("GV102", message, next((span for span in places if span), spec.key(side)), hint)


def _place_of_edge(conditional: Conditional | None, parent: str) -> Span | None:
    """Where a parent is named; None for the count of a plate, which nobody names."""
    names = [str(reference) for reference in conditional.parents] if conditional else []
    return conditional.span("parents", names.index(parent)) if conditional and parent in names else None


def check_coverage(graph: ModelGraph, spec: Spec) -> None:
    """Q covers what it must infer, p scores what is observed, and something is learned."""
    for name, node in graph.variables.items():
        if node.role == "observed" and name not in graph.p.conditionals:
            other = closest(name, _strangers(graph, graph.p))
            meant = f"'{other}' stands in p: did you mean '{name}'?" if other else ""
            hint = meant or f"write what it depends on, as in p: {{{name}: [PARENTS]}}"
            raise SpecError.of("GV107", f"p has no conditional for the observed variable '{name}'", node.span, hint)
    _check_strays(graph)
    _check_initials(graph)
    _check_learned(graph)
    _check_normalisation(graph)


def batch_in_counted_slots(graph: ModelGraph) -> list[ConditionalNode]:
    """The conditionals with batch normalisation in plates of which some slots may be inactive, but for frozen ones."""
    nodes = [*graph.p.conditionals.values(), *graph.q.conditionals.values()]
    batch = [node for node in nodes if node.conditional.network and node.conditional.network.normalisation == "batch"]
    trained = [node for node in batch if not (node.submodel and graph.submodels[node.submodel].frozen)]
    return [node for node in trained if any(graph.plates[plate].count for plate in node.variable.plates)]


def _check_normalisation(graph: ModelGraph) -> None:
    """What is in inactive slots moves the statistics of a batch; a sub-model's are settled, and a model of its own has none."""
    for node in batch_in_counted_slots(graph):
        if not node.submodel and node.conditional.network:
            message = f"'{node.variable.name}' is in slots that may be inactive, and batch normalisation would see these, too"
            place = node.conditional.network.span("normalisation")
            raise SpecError.of("GV116", message, place, "write normalisation: layer, which sees each slot by itself")


def _check_strays(graph: ModelGraph) -> None:
    """A variable is not derived where its conditional seems to stand in q under a misspelt name, which nothing reads."""
    read = {parent for parents in graph.q.reach.values() for parent in parents}
    unread = [name for name in _strangers(graph, graph.q) if name not in read]
    for name in (name for each in graph.derived if not each.submodel for name in each.conditionals):
        if other := closest(name, unread):
            node = graph.variables[name]
            message = f"q has no conditional for the {node.role} variable '{name}'"
            raise SpecError.of("GV107", message, node.span, f"'{other}' stands in q: did you mean '{name}'?")


def _check_initials(graph: ModelGraph) -> None:
    """What stands before the first slot is of a variable whose slot before is read."""
    for side in (graph.p, graph.q):
        read = {name for node in side.conditionals.values() for name in node.previous}
        for name, node in side.conditionals.items():
            if node.conditional.initial and name not in read:
                message = f"'{name}' has an initial value, and nothing in {side.name} reads {name}.previous"
                raise SpecError.of("GV118", message, node.conditional.key("initial"), "leave it out, or name the slot before")


def _check_learned(graph: ModelGraph) -> None:
    """A model that only states numbers has nothing to train."""
    conditionals = [node.conditional for side in (graph.p, graph.q) for node in side.conditionals.values()]
    if not any(row.network or "learned" in row.parameters.values() for row in conditionals):
        hint = "leave a parameter to a network, or write 'learned' in place of a number"
        raise SpecError.of("GV115", "nothing in this model is learned", graph.spec.key("p"), hint)


def _strangers(graph: ModelGraph, side: Side) -> list[str]:
    """What a side defines without a line under `variables`, which a misspelt name does as well."""
    return [name for name in side.conditionals if name not in graph.spec.variables and "." not in name]


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
