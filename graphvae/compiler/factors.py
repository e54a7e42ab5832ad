"""A side as the product of its factors, in plain text: `q(count | canvas) prod_{k < count} q(place[k] | canvas, place[k-1])`.

The form is `Factorisation`, the verb `factorise`. A variable in plates has their indices in brackets; one without them is
that of all slots, which a conditional outside of the plate gathers. Slots count from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side


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
    random = [node for node in side.conditionals.values() if node.family]
    runs = groupby(random, key=lambda node: node.variable.plates)
    factors = tuple(_product(graph, plates, [_factor(graph, side, node) for node in nodes]) for plates, nodes in runs)
    computed = tuple(line for node in side.conditionals.values() for line in _computed(graph, node))
    return Factorisation(side.factorisation, tuple(factor for product in factors for factor in product), computed)


def bounds(graph: ModelGraph, plate: str) -> str:
    """The slots of a plate: `k < count`, or `k < 3`."""
    node = graph.plates[plate]
    if not node.count:
        return f"{node.index} < {node.size}"
    indices = [graph.plates[outer].index for outer in graph.variables[node.count].plates]
    return f"{node.index} < {node.count}{f'[{_listed(indices)}]' * bool(indices)}"


def _product(graph: ModelGraph, plates: tuple[str, ...], factors: list[str]) -> list[str]:
    """Factors in the same plates as one, and each for itself where they are in none."""
    if not plates:
        return factors
    signs = " ".join(f"prod_{{{bounds(graph, plate)}}}" for plate in plates)
    product = " ".join(factors)
    return [f"{signs} {product if len(factors) == 1 else f'[{product}]'}"]


def _factor(graph: ModelGraph, side: Side, node: ConditionalNode) -> str:
    """What is gathered over slots depends on how many of them there are."""
    counts = (graph.plates[plate].count for plate in node.gathered)
    implied = [name for name in dict.fromkeys(counts) if name and name not in node.parents]
    parents = _listed([*_parents(graph, node), *(_indexed(graph, name, node) for name in implied)])
    return f"{side.name}({_indexed(graph, node.variable.name, node)}{' | ' * bool(parents)}{parents})"


def _computed(graph: ModelGraph, node: ConditionalNode) -> Iterator[str]:
    """What a network or an expression makes of the parents, where that is not the whole of a factor."""
    name, conditional = _indexed(graph, node.variable.name, node), node.conditional
    kind = "gru" if conditional.network and conditional.network.kind == "gru" else "network"
    network = f"{kind}({_listed(_parents(graph, node))})"
    if node.family is None and conditional.value is None:
        yield f"{name} = {network}"
    elif node.family is None:
        yield f"{name} = {conditional.value}{f' with {network}' * bool(conditional.network)}"
    for parameter in node.expressions if node.family else ():
        yield f"{name}.{parameter} = {conditional.parameters[parameter]}"


def _parents(graph: ModelGraph, node: ConditionalNode) -> list[str]:
    """The parents as they are written, with their indices."""
    parents = node.conditional.parents
    return [
        graph.plates[parent.variable].index
        if parent.variable in node.indices
        else _indexed(graph, parent.variable, node, parent.previous)
        for parent in parents
    ]


def _indexed(graph: ModelGraph, name: str, node: ConditionalNode, previous: bool = False) -> str:
    """A variable as a conditional sees it: in its own slot, in the one before, or of all slots."""
    plates = graph.variables[name].plates
    indices = [graph.plates[plate].index if plate in node.variable.plates else ":" for plate in plates]
    if previous:
        indices[-1] += "-1"
    return f"{name}[{_listed(indices)}]" if set(indices) - {":"} else name


def _listed(names: list[str]) -> str:
    return ", ".join(names)
