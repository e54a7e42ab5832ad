"""How q draws each variable: the rule where the spec does not say, what cannot work, and which divergences are closed.

The rule: a draw is reparameterised where its family can be. A finite variable is enumerated as long as the joint number of
cells stays within `max_cells`: labels first, then latents, small ones first; under an importance bound only where no draw
stands above it, since its sum stands outside the logarithm, and then in q's order; never in a loop within a loop. What is not
enumerated is concrete where its family has a relaxation and its divergence a closed form, and else has the score-function
gradient: scored by its density, a relaxed draw is far from the categories that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from graphvae.compiler.errors import Span, SpecError
from graphvae.compiler.families import Gradient
from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side
from graphvae.compiler.order import nested
from graphvae.compiler.spec import Conditional, Objective

POWER = 64  # draws of one variable that are counted: more are beyond any bound
TEMPERATURE = 0.66  # as in the authors' library
RELAXED: tuple[Gradient, ...] = ("concrete", "straight_through")


class Choice(NamedTuple):
    """A gradient, and why it was chosen."""

    gradient: Gradient
    why: str


def choose(q: Side, p: Side, objective: Objective) -> dict[str, Choice]:
    """A gradient for every random variable of q, in no particular order."""
    random = [node for node in q.conditionals.values() if node.family and not node.variable.collapse]
    made = {node.variable.name: _without_cells(node) for node in random}
    chosen = {name: choice for name, choice in made.items() if choice}
    cells = prod(count(node) for node in random if chosen.get(node.variable.name, _NOTHING).gradient == "enumerate")
    twice = nested(q.units)
    for node in sorted((n for n in random if n.variable.name not in chosen), key=_priority(objective)):
        name = node.variable.name
        reason = _LOOPED if name in twice else _not_enumerated(node, cells, q, chosen, objective)
        if not reason:
            cells *= count(node)
            why = f"exact: {count(node)} values, {cells} of at most {objective.max_cells} cells"
            chosen[name] = Choice("enumerate", why)
        elif _has_relaxation(node) and not _labels_behind(q, name) and not _not_closed(q, p, name, objective):
            chosen[name] = Choice("concrete", reason)
        else:
            chosen[name] = Choice("score_function", reason)
    return chosen


_NOTHING = Choice("reparameterised", "")
_LOOPED = "it stands in a loop within a loop"


def _without_cells(node: ConditionalNode) -> Choice | None:
    """What is written, or follows from the family alone; None where it depends on how many cells there are."""
    assert node.family is not None
    if node.conditional.gradient:
        return Choice(node.conditional.gradient, "as written")
    if not node.family.discrete:
        return Choice("reparameterised", f"a {node.family.name} draw is a function of noise")
    if not node.family.finite:
        return Choice("score_function", f"a {node.family.name} variable has no last value, and no reparameterisation")
    return None


def _priority(objective: Objective) -> Callable[[ConditionalNode], tuple[bool, int, str]]:
    if objective.bound != "self_normalised":
        return lambda node: (False, 0, "")  # in q's order, so that what stands above is decided first
    return lambda node: (node.variable.role != "supervised", count(node), node.variable.name)


def _not_enumerated(node: ConditionalNode, cells: int, q: Side, chosen: Mapping[str, Choice], objective: Objective) -> str:
    """Why a finite variable cannot join the cells that there are; nothing if it can."""
    if cells * count(node) > objective.max_cells:
        return f"{_shown(node, cells)} cells are more than max_cells, {objective.max_cells}"
    drawn = [name for name in q.ancestors(node.variable.name) if chosen.get(name, _ENUMERATED).gradient != "enumerate"]
    if drawn and objective.bound != "self_normalised":
        return f"{objective.bound} cannot sum it below the draw of {min(drawn)}"
    return ""


def _has_relaxation(node: ConditionalNode) -> bool:
    return node.family is not None and "concrete" in node.family.gradients


_ENUMERATED = Choice("enumerate", "")


def count(node: ConditionalNode) -> int:
    """How many values a finite variable has, cut off where it is beyond any bound."""
    base, power = node.cells
    return int(base ** min(power, POWER))


def _shown(node: ConditionalNode, cells: int) -> str:
    base, power = node.cells
    own = f"{base}^{power}" if power > 1 else str(base)
    return f"{cells} x {own}" if cells > 1 else own


@dataclass(frozen=True)
class Divergence:
    """Whether log q - log p of a draw may be replaced by its mean, KL(q || p), in the objective.

    It may where nothing that depends on the draw weighs it: where one of `labels` is known in a row, the draw has a weight, and
    it is sampled there all the same. `why` is the reason where it always is.
    """

    closed: bool
    labels: tuple[str, ...]
    why: str


def divergence(graph: ModelGraph, name: str) -> Divergence:
    """How the objective computes log q - log p of a variable that q draws."""
    q, objective = graph.q.conditionals[name], graph.spec.objective
    if q.conditional.gradient == "enumerate":
        why = "it is summed over every value"
    elif objective.kl == "sampled" and q.conditional.gradient not in RELAXED:
        why = "objective.kl is sampled"
    else:
        why = _not_closed(graph.q, graph.p, name, objective)
    return Divergence(not why, tuple(_labels_behind(graph.q, name)), why)


def _not_closed(q: Side, p: Side, name: str, objective: Objective) -> str:
    """Why the divergence of a draw has no closed form that leaves the expectation as it is; nothing if it has."""
    here, there = q.conditionals[name].family, p.conditionals[name].family
    assert here is not None
    assert there is not None
    if objective.bound != "self_normalised":
        return f"the bound is {objective.bound}"
    if there.name not in here.closed_kl:
        return f"KL({here.name} || {there.name}) has no closed form"
    below = [parent for parent in random_parents(p, name) if parent in q.parents and name in q.ancestors(parent)]
    return f"its parent in p, {below[0]}, stands below it in q" if below else ""


def _labels_behind(q: Side, name: str) -> list[str]:
    """The supervised variables among a variable's descendants in q: where one is known, the draws are weighted."""
    labels = [other for other, node in q.conditionals.items() if node.variable.role == "supervised"]
    return [label for label in labels if name in q.ancestors(label)]


def random_parents(side: Side, name: str) -> list[str]:
    """The random variables that a conditional reads, itself or through deterministic ones."""
    found: dict[str, None] = {}
    for parent in side.parents[name]:
        node = side.conditionals.get(parent)
        deeper = node is not None and node.family is None
        found |= dict.fromkeys(random_parents(side, parent) if deeper else [parent])
    return list(found)


def check_draws(graph: ModelGraph) -> None:
    """Every draw of q can pass its gradient on, under this bound and with so many samples."""
    objective = graph.spec.objective
    _check_cells(graph)
    if objective.bound == "importance_dreg" and isinstance(objective.beta, dict):
        message = "importance_dreg reparameterises the score of all draws at once, and needs one beta for them"
        raise SpecError.of("GV110", message, objective.key("beta"), "write beta: NUMBER, or bound: importance")
    twice = nested(graph.q.units)
    for name, node in graph.q.conditionals.items():
        conditional = node.conditional
        place = conditional.span("gradient") or node.span
        _check_dropout(objective.bound, conditional)
        if node.family is None or node.variable.collapse:
            _check_undrawn(name, node)
            continue
        if conditional.temperature is not None and conditional.gradient not in RELAXED:
            message = f"'{name}' is drawn by '{conditional.gradient}', which has no temperature"
            raise SpecError.of("GV110", message, conditional.key("temperature"), f"it belongs to {' and '.join(RELAXED)}")
        if conditional.gradient == "score_function" and objective.samples == 1:
            message = f"the score-function gradient of '{name}' compares samples with each other, and samples is 1"
            raise SpecError.of("GV110", message, objective.span("samples"), "write samples: 8, or leave the key out")
        if conditional.gradient == "straight_through":
            _check_straight_through(graph, name, place)
        if conditional.gradient == "enumerate" and name in twice:
            message = f"'{name}' cannot be enumerated: in q it stands in a loop over '{node.variable.plates[-1]}' within a loop"
            raise SpecError.of("GV110", message, place, "leave the gradient to the rule, or write score_function")
        if objective.bound != "self_normalised":
            _check_importance(graph, name, node, place)


def _check_undrawn(name: str, node: ConditionalNode) -> None:
    """What is computed, or collapsed to its mean, has no gradient to choose."""
    if node.family is not None and node.conditional.gradient:
        message = f"'{name}' collapses to its mean, and is not drawn"
        raise SpecError.of("GV110", message, node.conditional.key("gradient"), "leave the gradient out, or the collapse")


def _check_straight_through(graph: ModelGraph, name: str, place: Span | None) -> None:
    found = divergence(graph, name)
    why = found.why or (f"the label {found.labels[0]} stands behind it" if found.labels else "")
    if why:
        message = f"'{name}' cannot be drawn straight through: that needs its KL divergence in closed form, and {why}"
        raise SpecError.of("GV110", message, place, "write gradient: enumerate, concrete or score_function")


def _check_importance(graph: ModelGraph, name: str, node: ConditionalNode, place: Span | None) -> None:
    bound = graph.spec.objective.bound
    above = graph.draws_before(name)
    if node.conditional.gradient == "enumerate" and above:
        message = f"'{name}' cannot be enumerated below the draw of {above[0]} under the bound {bound}"
        hint = "the sum over its values stands outside the logarithm of the mean: give it another gradient"
        raise SpecError.of("GV110", message, place, hint)
    if bound == "importance_dreg" and node.conditional.gradient not in ("reparameterised", "enumerate"):
        message = f"'{name}' is drawn by '{node.conditional.gradient}', and {bound} needs every draw reparameterised"
        raise SpecError.of("GV110", message, place, "write bound: importance, or enumerate it")


def _check_dropout(bound: str, conditional: Conditional) -> None:
    network = conditional.network
    if bound == "importance_dreg" and network and network.dropout:
        message = f"{bound} passes through q twice, and dropout would make two different networks of it"
        raise SpecError.of("GV110", message, network.key("dropout"), "leave dropout out of q, or write bound: importance")


def _check_cells(graph: ModelGraph) -> None:
    limit = graph.spec.objective.max_cells
    enumerated = {n: node for n, node in graph.q.conditionals.items() if node.conditional.gradient == "enumerate"}
    counts = {name: count(node) for name, node in enumerated.items()}
    if prod(counts.values()) > limit:
        cells = {name: node.cells for name, node in enumerated.items()}
        factors = (f"{base}{f'^{power}' * (power > 1)} ({name})" for name, (base, power) in cells.items())
        message = f"enumerating needs {' x '.join(factors)} cells, and max_cells is {limit}"
        largest = max(counts, key=lambda name: counts[name])
        hint = "leave a gradient to the rule, which enumerates what fits, or raise objective.max_cells if you mean it"
        raise SpecError.of("GV112", message, graph.variables[largest].span, hint)
