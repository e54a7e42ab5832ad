"""p and q side by side, as a picture in DOT text.

The verb is `to_dot`. A variable is white where it is latent, grey where it is observed, half grey where it is supervised,
double where it is deterministic or collapsed to its mean, and a bare name where it is a covariate. The arrows of p are solid,
and those of q dashed. An arrow to the next slot of a plate carries the index of the slot that it comes from.

Plates are rounded boxes with their index and the number of their slots at the bottom right; sub-models are boxes with their
name at the top left, around the names that they use inside. Where a plate would cross a box, which Graphviz cannot draw, it is
named below the names of its variables, and the caption says so. A count is named at its plate and has no arrows to what it
counts: its arrows lead to what names it as a parent. The caption of q says what of it is derived from p.

Both panels hold the same variables and the same links, and what does not belong to a panel is invisible there: so the layout
engine gives both the same order. Ranks run from top to bottom as p does, from causes down to what is observed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import graphviz

from graphvae.compiler.graph import ModelGraph, Side
from graphvae.diagrams.boxes import Box, Nest, nest

LOOKS = {
    "latent": {"fillcolor": "white"},
    "observed": {"fillcolor": "gray85"},
    "supervised": {"fillcolor": "gray85;0.5:white"},
    "deterministic": {"fillcolor": "white", "peripheries": "2"},
    "given": {"shape": "plaintext", "style": "", "width": "0", "height": "0"},
    "absent": {"label": "", "style": "invis", "width": "0.05", "margin": "0"},
}
BOXES = {
    "plate": {"style": "rounded", "peripheries": "1", "labelloc": "b", "labeljust": "r", "margin": "12"},
    "sub-model": {"style": "", "peripheries": "1", "labelloc": "t", "labeljust": "l", "margin": "12"},
}
ARROWS = {"p": "solid", "q": "dashed"}

_GRAPH = {"newrank": "true", "pad": "0.1", "nodesep": "0.35", "ranksep": "0.4", "fontname": "Times-Italic"}
_NODE = {"shape": "ellipse", "style": "filled", "width": "0.8", "height": "0.8", "margin": "0.05", "fontname": "Times-Italic"}
_EDGE = {"arrowsize": "0.7"}
_NEXT = {"constraint": "false", "fontname": "Times-Italic", "fontsize": "11"}
_PANEL = {"peripheries": "0", "labelloc": "b", "margin": "20"}


def to_dot(graph: ModelGraph) -> str:
    r"""The DOT text of p and q. The same graph gives the same text.

    >>> from graphvae.compiler.pipeline import compile_text
    >>> variables = "{x: {distribution: normal, role: observed}, z: {distribution: normal}}"
    >>> text = f"model: m\nvariables: {variables}\np: {{x: [z]}}\nq: {{z: [x]}}"
    >>> [line.strip() for line in to_dot(compile_text(text, "m.yaml").graph).splitlines() if "->" in line]
    ['"p.z" -> "p.x" [style=solid]', '"q.z" -> "q.x" [dir=back style=dashed]']
    """
    picture = graphviz.Digraph(graph.spec.model, graph_attr=_GRAPH, node_attr=_NODE, edge_attr=_EDGE)
    nested, links = nest(graph), _links(graph)
    for letter, side in (("a", graph.p), ("b", graph.q)):
        picture.subgraph(_Panel(graph, side, nested, links).drawn(letter))
    for name in (*graph.variables, *_indices(graph.p, graph.q)):
        picture.subgraph(_row(f"p.{name}", f"q.{name}"))
    return str(picture.source)


@dataclass(frozen=True)
class _Link:
    """Two nodes with an arrow between them in p or in q. Only a ranked link puts one of them above the other.

    `plate` is that whose next slot the arrow leads to, from `upper` to `lower`, or "".
    """

    upper: str
    lower: str
    ranked: bool
    plate: str = ""


def _edges(side: Side) -> list[tuple[str, str]]:
    """The arrows within a slot: from what a conditional names as its parents, the index of a plate among them."""
    nodes = [side.conditionals[name] for name in side.parents if name in side.conditionals]
    return [(parent, node.variable.name) for node in nodes for parent in (*node.parents, *node.indices)]


def _next_slot(side: Side) -> list[_Link]:
    """The arrows to the next slot."""
    nodes = side.conditionals.values()
    return [_Link(name, node.variable.name, False, node.variable.plates[-1]) for node in nodes for name in node.previous]


def _indices(*sides: Side) -> list[str]:
    """The plates whose index is a parent of something."""
    return list(dict.fromkeys(plate for side in sides for node in side.conditionals.values() for plate in node.indices))


def _links(graph: ModelGraph) -> list[_Link]:
    """The links of p, then what q adds: a variable that is private to q stands above its parents and below its children."""
    downward, there = _edges(graph.p), {*graph.p.parents, *graph.plates}
    links = [_Link(parent, child, ranked=True) for parent, child in downward]
    for parent, child in _edges(graph.q):
        if (parent, child) in downward or (child, parent) in downward:
            continue
        if parent in there and child in there:
            links.append(_Link(parent, child, ranked=False))
        else:
            links.append(_Link(child, parent, ranked=True))
    return list(dict.fromkeys([*links, *_next_slot(graph.p), *_next_slot(graph.q)]))


@dataclass(frozen=True)
class _Panel:
    """A side's variables and arrows, in the boxes of both sides."""

    graph: ModelGraph
    side: Side
    nested: Nest
    links: list[_Link]

    def drawn(self, letter: str) -> graphviz.Digraph:
        """The panel over its caption."""
        lines = [f"({letter}) {self.side.factorisation}"]
        if self.nested.crossing:
            lines.append(
                f"{', '.join(map(self.slots, self.nested.crossing))} below a name: a plate whose box would cross another"
            )
        if self.side.name == "q":
            lines += _derived(self.graph)
        caption = "\\n".join(map(graphviz.escape, lines))
        panel = graphviz.Digraph(f"cluster_{self.side.name}", graph_attr={**_PANEL, "label": caption})
        self.fill(panel, self.nested.variables, self.nested.boxes)
        for plate in _indices(self.graph.p, self.graph.q):
            if plate in self.nested.crossing:
                self.index(panel, plate)
        for link in self.links:
            panel.edge(f"{self.side.name}.{link.upper}", f"{self.side.name}.{link.lower}", **self.arrow(link))
        return panel

    def fill(self, part: graphviz.Digraph, variables: Iterable[str], boxes: Iterable[Box]) -> None:
        """Variables, and boxes with what is in them."""
        for name in variables:
            self.variable(part, name)
        for box in boxes:
            inside = graphviz.Digraph(f"cluster_{self.side.name}.{box.name}", graph_attr=self.box(box))
            self.fill(inside, box.variables, box.boxes)
            if box.name in _indices(self.graph.p, self.graph.q):
                self.index(inside, box.name)
            part.subgraph(inside)

    def box(self, box: Box) -> dict[str, str]:
        """How a box looks; one with nothing to see in it is not seen."""
        if not any(map(self.takes_part, box.members)):
            return {**BOXES[box.kind], "peripheries": "0", "label": ""}
        label = self.slots(box.name) if box.kind == "plate" else box.name.rpartition(".")[2]
        return {**BOXES[box.kind], "label": graphviz.escape(label)}

    def slots(self, plate: str) -> str:
        """`k = 1…3`, or the count in place of the number."""
        node = self.graph.plates[plate]
        return f"{node.index} = 1…{node.count.rpartition('.')[2] or node.size}"

    def takes_part(self, name: str) -> bool:
        """Whether a variable is defined or conditioned on, on this side."""
        return name in self.side.conditionals or name in self.side.conditioned

    def variable(self, part: graphviz.Digraph, name: str) -> None:
        """A variable under the name that it has in its sub-model, over the plates that are no boxes."""
        node = self.graph.variables[name]
        look = LOOKS[node.role if self.takes_part(name) else "absent"]
        double = {"peripheries": "2"} if node.collapse and self.takes_part(name) else {}
        lines = [name.rpartition(".")[2], *(self.slots(plate) for plate in node.plates if plate in self.nested.crossing)]
        label = "\\n".join(map(graphviz.escape, lines))
        part.node(f"{self.side.name}.{name}", **{"label": label, **look, **double})

    def index(self, part: graphviz.Digraph, plate: str) -> None:
        """The index of a plate, where it is a parent."""
        look = LOOKS["given" if plate in _indices(self.side) else "absent"]
        part.node(f"{self.side.name}.{plate}", **{"label": graphviz.escape(self.graph.plates[plate].index), **look})

    def arrow(self, link: _Link) -> dict[str, str]:
        """How a link looks: an arrow down, an arrow up, or nothing at all."""
        if link.plate:
            label = graphviz.escape(f" {self.graph.plates[link.plate].index}−1")
            return {"style": ARROWS[self.side.name] if link in _next_slot(self.side) else "invis", "label": label, **_NEXT}
        attributes = {} if link.ranked else {"constraint": "false"}
        edges = _edges(self.side)
        if (link.upper, link.lower) in edges:
            return {"style": ARROWS[self.side.name], **attributes}
        if (link.lower, link.upper) in edges:
            return {"style": ARROWS[self.side.name], "dir": "back", **attributes}
        return {"style": "invis", **attributes}


def _derived(graph: ModelGraph) -> list[str]:
    """What of q is derived from p, by name where it is not all."""
    names = [name for each in graph.derived for name in each.conditionals]
    of = "" if len(names) == len(graph.named("latent", "supervised")) else f"{', '.join(names)} "
    return [f"{of}derived from p"] * bool(names)


def _row(*nodes: str) -> graphviz.Digraph:
    """Nodes at the same height."""
    row = graphviz.Digraph(graph_attr={"rank": "same"})
    for node in nodes:
        row.node(node)
    return row
