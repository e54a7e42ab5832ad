"""Sketch: what a picture of a graph shows, before anything has a place. The verb is `sketch`.

Nodes are variables, the indices of plates that are parents, and closed sub-models; edges run from what a conditional names as
its parents. A count is named at its plate and has no edges to what it counts. With the detail `minimal`, deterministic
variables are left out, and the parents of one become the parents of its children.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side, SideName, factorised
from graphvae.diagrams.boxes import Group, Nest, groups, nest
from graphvae.diagrams.scene import Look, Point
from graphvae.diagrams.symbols import Symbol, symbol_of

View = Literal["both", "p", "q", "overlay"]
Detail = Literal["minimal", "default", "full"]
Submodels = Literal["open", "closed"]
Width = Literal["one-column", "two-column"]


@dataclass(frozen=True)
class Style:
    """What a person chooses about a picture; a `width` of None is as wide as the picture needs."""

    view: View = "both"
    detail: Detail = "default"
    submodels: Submodels = "open"
    legend: bool = False
    width: Width | None = None
    bold_vectors: bool = False


PARAMETERS = {"p": Symbol(r"\theta", "θ"), "q": Symbol(r"\phi", "φ")}
"""The weights of the networks of a side."""


@dataclass(frozen=True)
class Node:
    """What becomes a mark."""

    name: str
    symbol: Symbol
    look: Look
    double: bool = False


@dataclass(frozen=True)
class Edge:
    """A parent and its child; `previous` is the plate whose next slot it leads to, or ""."""

    tail: str
    head: str
    previous: str = ""


@dataclass(frozen=True)
class Half:
    """p or q: the nodes that take part, the edges, the factorisation, and each child's family and whether it has parameters."""

    name: SideName
    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    random: tuple[str, ...]
    given: tuple[str, ...]
    families: Mapping[str, str]
    learned: tuple[str, ...]


@dataclass(frozen=True)
class Sketch:
    """A picture without places. `labels` are what stands at the groups: index and size of a plate, the name of a sub-model."""

    graph: ModelGraph
    style: Style
    nodes: Mapping[str, Node]
    p: Half
    q: Half
    groups: tuple[Group, ...]
    labels: Mapping[str, Symbol]

    @property
    def nested(self) -> Nest:
        """The groups as boxes."""
        return nest(list(self.nodes), self.groups)

    @property
    def derived(self) -> list[Symbol]:
        """`z derived from p` in pieces between which a line may end: what of q is, named where it is not all of it."""
        names = [name for each in self.graph.derived for name in each.conditionals]
        named = len(names) < len(self.graph.named("latent", "supervised"))
        symbols = [self.symbol(name) for name in names if named]
        listed = [Symbol(rf"{each.latex},\ ", f"{each.text}, ") for each in symbols[:-1]]
        last = [Symbol(rf"{each.latex}\ ", f"{each.text} ") for each in symbols[-1:]]
        return [*listed, *last, *map(upright, ("derived ", "from ", "p"))] if names else []

    def placed(self, more: Mapping[str, Point]) -> dict[str, Point]:
        """The places of nodes that the spec gives, and those that are given beside it, which go before."""
        places = {**self.graph.spec.layout, **more}
        return {name: place for name, place in places.items() if name in self.nodes}

    def members(self, name: str) -> frozenset[str]:
        """What is in a group."""
        return next(group.members for group in self.groups if group.name == name)

    def symbol(self, name: str) -> Symbol:
        """The symbol of a variable outside of the boxes, which says to which sub-model it belongs."""
        return symbol_of(self.graph, name, bold=self.style.bold_vectors, path=True)

    def index(self, plate: str) -> Symbol:
        """The index of a plate."""
        return symbol_of(self.graph, plate)


@dataclass(frozen=True)
class Link:
    """Two nodes with an edge between them in p or in q. Only a ranked link puts one of them above the other."""

    upper: str
    lower: str
    ranked: bool
    previous: str = ""


def sketch(graph: ModelGraph, style: Style = Style()) -> Sketch:
    """What a picture of a graph shows.

    >>> from graphvae.compiler.check import read_graph
    >>> drawn = sketch(read_graph("specs/faces_intrinsic.yaml"), Style(detail="minimal"))
    >>> [edge.tail for edge in drawn.p.edges if edge.head == "image"]
    ['person', 'skin', 'light', 'form']
    """
    p, q = _half(graph, graph.p, style), _half(graph, graph.q, style)
    names = [name for name in _names(graph, style) if name in (*p.nodes, *q.nodes)]
    found = groups(graph)
    drawn = [_group(graph, group, found, names, style) for group in found]
    kept = tuple(group for group in drawn if group.members)
    nodes = {name: _node(graph, name, style) for name in names}
    return Sketch(graph, style, nodes, p, q, kept, {group.name: _label(graph, group) for group in kept})


def links(drawn: Sketch) -> list[Link]:
    """The links of p, then what q adds: a variable that is private to q stands above its parents and below its children."""
    downward = [(edge.tail, edge.head) for edge in drawn.p.edges if not edge.previous]
    found = [Link(*pair, ranked=True) for pair in downward]
    for edge in drawn.q.edges:
        pair = (edge.tail, edge.head)
        if edge.previous or pair in downward or pair[::-1] in downward:
            continue
        if {*pair} <= {*drawn.p.nodes, *drawn.graph.plates}:
            found.append(Link(*pair, ranked=False))
        else:
            found.append(Link(*pair[::-1], ranked=True))
    later = [Link(edge.tail, edge.head, False, edge.previous) for half in (drawn.p, drawn.q) for edge in half.edges]
    return list(dict.fromkeys([*found, *(link for link in later if link.previous)]))


def upright(text: str) -> Symbol:
    r"""Words as a symbol.

    >>> upright("negative binomial").latex
    '\\mathrm{negative\\ binomial}'
    """
    escaped = text.replace("_", r"\_").replace(" ", r"\ ")
    return Symbol(rf"\mathrm{{{escaped}}}", text)


def _half(graph: ModelGraph, side: Side, style: Style) -> Half:
    hidden = graph.named("deterministic") if style.detail == "minimal" else []
    shown = {name: _shown(graph, name, style) for name in (*graph.variables, *graph.plates)}
    raw = _without(hidden, [edge for node in side.conditionals.values() for edge in _edges(node)])
    edges = [replace(edge, tail=shown[edge.tail], head=shown[edge.head]) for edge in raw]
    written = dict.fromkeys(e for e in edges if e.tail != e.head or (e.previous and e.tail in graph.variables))
    there = [*side.conditionals, *side.conditioned, *(edge.tail for edge in raw)]
    whole = {name: node for name, node in side.conditionals.items() if shown[name] == name and name not in hidden}
    return Half(
        side.name,
        tuple(dict.fromkeys(shown[name] for name in there if name not in hidden)),
        tuple(written),
        tuple(name for name, node in side.conditionals.items() if node.family),
        tuple(side.conditioned),
        {name: node.family.name for name, node in whole.items() if node.family},
        tuple(name for name, node in whole.items() if _learns(node)),
    )


def _edges(node: ConditionalNode) -> Iterable[Edge]:
    for parent in node.conditional.parents:
        yield Edge(parent.variable, node.variable.name, node.variable.plates[-1] if parent.previous else "")


def _without(hidden: Sequence[str], edges: list[Edge]) -> list[Edge]:
    """The edges where what is hidden is passed through; a way through the slot before leads from the slot before."""
    for name in hidden:
        into = [edge for edge in edges if edge.head == name and edge.tail != name]
        out = [edge for edge in edges if edge.tail == name and edge.head != name]
        again = [edge.previous for edge in edges if edge.tail == edge.head == name]
        joined = [
            Edge(one.tail, two.head, one.previous or two.previous or through)
            for two, one, through in itertools.product(out, into, ["", *again])
        ]
        edges = list(dict.fromkeys([*(edge for edge in edges if name not in (edge.tail, edge.head)), *joined]))
    return edges


def _learns(node: ConditionalNode) -> bool:
    return bool(node.conditional.network) or "learned" in node.conditional.parameters.values()


def _names(graph: ModelGraph, style: Style) -> list[str]:
    """Every name that may be drawn, in the order of the text."""
    return list(dict.fromkeys(_shown(graph, name, style) for name in (*graph.variables, *graph.plates)))


def _shown(graph: ModelGraph, name: str, style: Style) -> str:
    """The name under which something is drawn: its own, or that of the closed sub-model that it is in."""
    outer, _, inner = name.partition(".")
    return outer if inner and style.submodels == "closed" else name


def _group(graph: ModelGraph, group: Group, others: Sequence[Group], names: list[str], style: Style) -> Group:
    """A group of what is drawn; the index of a plate stands in it, and in all that holds the plate."""
    indices = {plate.name for plate in others if plate.kind == "plate" and plate.members <= group.members}
    members = {_shown(graph, name, style) for name in group.members | indices}
    closed = style.submodels == "closed" and (group.kind == "sub-model" or "." in group.name)
    return replace(group, members=frozenset() if closed else frozenset(members & set(names)))


def _node(graph: ModelGraph, name: str, style: Style) -> Node:
    if name in graph.submodels:
        return Node(name, upright(name), "sub-model")
    node = graph.variables.get(name)
    own = symbol_of(graph, name, bold=style.bold_vectors)
    if node is None:
        return Node(name, own, "given")
    return Node(name, own, node.role, node.role == "deterministic" or node.collapse)


def _label(graph: ModelGraph, group: Group) -> Symbol:
    r"""`k = 1, …, 3`, or the count in place of the number; or the name of a sub-model."""
    if group.kind == "sub-model":
        return upright(group.name.rpartition(".")[2])
    node, index = graph.plates[group.name], symbol_of(graph, group.name)
    last = symbol_of(graph, node.count) if node.count else Symbol(str(node.size), str(node.size))
    return Symbol(rf"{index.latex} = 1, \dots, {last.latex}", f"{index.text} = 1…{last.text}")


def factorisation(sketch: Sketch, half: Half) -> str:
    """`q(z, y | x)` in the letters of Unicode: what is random on a side, given what it is conditioned on."""
    random, given = ([sketch.symbol(name).text for name in names] for names in (half.random, half.given))
    return factorised(half.name, random, given)


def before(sketch: Sketch, edge: Edge) -> Symbol:
    """What stands at an arrow from the slot before."""
    index = sketch.index(edge.previous)
    return Symbol(f"{index.latex} - 1", f"{index.text}−1")
