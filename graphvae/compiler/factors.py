"""A side as the product of its factors: `q(count | canvas) prod_{k < count} q(place[k] | canvas, place[k-1])`.

The forms are `Product`, for whoever writes one, and `Factorisation`, which is plain text; the verbs are `products` and
`factorise`. A variable in plates has their indices in brackets; one without them is that of all slots, which a conditional
outside of the plate gathers. Slots count from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side


@dataclass(frozen=True)
class Slot:
    """Which slot of a plate: the conditional's own, the one before, or all of them."""

    plate: str
    which: Literal["own", "before", "all"] = "own"


@dataclass(frozen=True)
class Seen:
    """A variable as a conditional sees it; or the index of the plate of this name, where that is a parent."""

    name: str
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True)
class Factor:
    """A conditional, its variable, and what it is given: its parents, and how many slots there are of what it gathers."""

    node: ConditionalNode
    variable: Seen
    given: tuple[Seen, ...]


@dataclass(frozen=True)
class Product:
    """Factors that follow each other in the same plates."""

    plates: tuple[str, ...]
    factors: tuple[Factor, ...]


@dataclass(frozen=True)
class Factorisation:
    """A side as the product of its factors, and what it computes on the way: `trunk = network(image)`.

    Factors that follow each other in the same plates stand in one product.
    """

    joint: str
    factors: tuple[str, ...]
    computed: tuple[str, ...]


def factorise(graph: ModelGraph, side: Side) -> Factorisation:
    """The factors of p or q, and what it computes, in its order.

    >>> from graphvae.compiler.check import read_graph
    >>> graph = read_graph("tests/specs/switching.yaml")
    >>> for product in factorise(graph, graph.p).factors:
    ...     print(product)
    p(style)
    prod_{t < 4} [p(switch[t] | switch[t-1]) p(state[t] | state[t-1], switch[t], style) p(seen[t] | state[t], t)]
    >>> factorise(graph, graph.q).computed
    ('memory[t] = gru(seen[t], memory[t-1], state[t-1])',)
    """
    factors = tuple(text for product in products(graph, side) for text in _product(graph, side, product))
    computed = tuple(line for node in side.conditionals.values() for line in _computed(graph, node))
    return Factorisation(side.factorisation, factors, computed)


def products(graph: ModelGraph, side: Side) -> tuple[Product, ...]:
    """The factors of p or q, in its order."""
    random = [node for node in side.conditionals.values() if node.family]
    runs = groupby(random, key=lambda node: node.variable.plates)
    return tuple(Product(plates, tuple(_factor(graph, node) for node in nodes)) for plates, nodes in runs)


def parents_of(graph: ModelGraph, node: ConditionalNode) -> tuple[Seen, ...]:
    """The parents as they are written."""
    parents = node.conditional.parents
    return tuple(
        Seen(parent.variable) if parent.variable in node.indices else seen(graph, parent.variable, node, parent.previous)
        for parent in parents
    )


def seen(graph: ModelGraph, name: str, node: ConditionalNode, previous: bool = False) -> Seen:
    """A variable as a conditional sees it: in its own slot, in the one before, or of all slots."""
    slots = [Slot(plate, "own" if plate in node.variable.plates else "all") for plate in graph.variables[name].plates]
    if previous:
        slots[-1] = Slot(slots[-1].plate, "before")
    return Seen(name, tuple(slots))


def _factor(graph: ModelGraph, node: ConditionalNode) -> Factor:
    """What is gathered over slots depends on how many of them there are."""
    counts = (graph.plates[plate].count for plate in node.gathered)
    implied = [name for name in dict.fromkeys(counts) if name and name not in node.parents]
    given = (*parents_of(graph, node), *(seen(graph, name, node) for name in implied))
    return Factor(node, seen(graph, node.variable.name, node), given)


def bounds(graph: ModelGraph, plate: str) -> str:
    """The slots of a plate: `k < count`, or `k < 3`."""
    node = graph.plates[plate]
    if not node.count:
        return f"{node.index} < {node.size}"
    slots = tuple(Slot(outer) for outer in graph.variables[node.count].plates)
    return f"{node.index} < {_indexed(graph, Seen(node.count, slots))}"


def _product(graph: ModelGraph, side: Side, product: Product) -> list[str]:
    """Factors in the same plates as one, and each for itself where they are in none."""
    factors = [_conditional(graph, side, factor) for factor in product.factors]
    if not product.plates:
        return factors
    signs = " ".join(f"prod_{{{bounds(graph, plate)}}}" for plate in product.plates)
    joined = " ".join(factors)
    return [f"{signs} {joined if len(factors) == 1 else f'[{joined}]'}"]


def _conditional(graph: ModelGraph, side: Side, factor: Factor) -> str:
    given = _listed(graph, factor.given)
    return f"{side.name}({_indexed(graph, factor.variable)}{' | ' * bool(given)}{given})"


def _computed(graph: ModelGraph, node: ConditionalNode) -> Iterator[str]:
    """What a network or an expression makes of the parents, where that is not the whole of a factor."""
    name, conditional = _indexed(graph, seen(graph, node.variable.name, node)), node.conditional
    kind = "gru" if conditional.network and conditional.network.kind == "gru" else "network"
    network = f"{kind}({_listed(graph, parents_of(graph, node))})"
    if node.family is None and conditional.value is None:
        yield f"{name} = {network}"
    elif node.family is None:
        yield f"{name} = {conditional.value}{f' with {network}' * bool(conditional.network)}"
    for parameter in node.expressions if node.family else ():
        yield f"{name}.{parameter} = {conditional.parameters[parameter]}"


def _listed(graph: ModelGraph, found: Iterable[Seen]) -> str:
    return ", ".join(_indexed(graph, each) for each in found)


def _indexed(graph: ModelGraph, found: Seen) -> str:
    if found.name in graph.plates:
        return graph.plates[found.name].index
    indices = [_INDEX[slot.which].format(graph.plates[slot.plate].index) for slot in found.slots]
    return f"{found.name}[{', '.join(indices)}]" if set(indices) - {":"} else found.name


_INDEX = {"own": "{}", "before": "{}-1", "all": ":"}
