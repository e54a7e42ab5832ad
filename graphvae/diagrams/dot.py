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

from graphvae.diagrams.boxes import Box
from graphvae.diagrams.sketch import Edge, Half, Link, Sketch, factorisation, links

LOOKS = {
    "latent": {"fillcolor": "white"},
    "observed": {"fillcolor": "gray85"},
    "supervised": {"fillcolor": "gray85;0.5:white"},
    "deterministic": {"fillcolor": "white", "peripheries": "2"},
    "given": {"shape": "plaintext", "style": "", "width": "0", "height": "0"},
    "sub-model": {"shape": "box", "fillcolor": "white"},
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


def to_dot(sketch: Sketch) -> str:
    r"""The DOT text of p and q. The same graph gives the same text.

    >>> from graphvae.compiler.pipeline import compile_text
    >>> from graphvae.diagrams.sketch import sketch
    >>> variables = "{x: {distribution: normal, role: observed}, z: {distribution: normal}}"
    >>> text = f"model: m\nvariables: {variables}\np: {{x: [z]}}\nq: {{z: [x]}}"
    >>> drawn = sketch(compile_text(text, "m.yaml").graph)
    >>> [line.strip() for line in to_dot(drawn).splitlines() if "->" in line]
    ['"p.z" -> "p.x" [style=solid]', '"q.z" -> "q.x" [dir=back style=dashed]']
    """
    picture = graphviz.Digraph(sketch.graph.spec.model, graph_attr=_GRAPH, node_attr=_NODE, edge_attr=_EDGE)
    halves = {"p": (sketch.p,), "q": (sketch.q,), "both": (sketch.p, sketch.q), "overlay": (sketch.p, sketch.q)}
    panels = [_Panel(sketch, half) for half in halves[sketch.style.view]]
    for letter, panel in zip("ab", panels, strict=False):
        picture.subgraph(panel.drawn(letter))
    for name in sketch.nodes if len(panels) > 1 else ():
        picture.subgraph(_row(f"p.{name}", f"q.{name}"))
    return str(picture.source)


@dataclass(frozen=True)
class _Panel:
    """A side's variables and arrows, in the boxes of both sides."""

    sketch: Sketch
    half: Half

    def drawn(self, letter: str) -> graphviz.Digraph:
        """The panel over its caption."""
        nested, side = self.sketch.nested, self.half.name
        lines = [f"({letter}) {factorisation(self.sketch, self.half)}"]
        if nested.crossing:
            lines.append(f"{', '.join(map(self.slots, nested.crossing))} below a name: a plate whose box would cross another")
        if side == "q" and self.sketch.derived:
            lines.append("".join(piece.text for piece in self.sketch.derived))
        caption = "\\n".join(map(graphviz.escape, lines))
        panel = graphviz.Digraph(f"cluster_{side}", graph_attr={**_PANEL, "label": caption})
        self.fill(panel, nested.variables, nested.boxes)
        for link in links(self.sketch):
            panel.edge(f"{side}.{link.upper}", f"{side}.{link.lower}", **self.arrow(link))
        return panel

    def fill(self, part: graphviz.Digraph, names: Iterable[str], boxes: Iterable[Box]) -> None:
        """Nodes, and boxes with what is in them."""
        for name in names:
            self.node(part, name)
        for box in boxes:
            inside = graphviz.Digraph(f"cluster_{self.half.name}.{box.name}", graph_attr=self.box(box))
            self.fill(inside, box.variables, box.boxes)
            part.subgraph(inside)

    def box(self, box: Box) -> dict[str, str]:
        """How a box looks; one with nothing to see in it is not seen."""
        if not any(name in self.half.nodes for name in box.members):
            return {**BOXES[box.kind], "peripheries": "0", "label": ""}
        return {**BOXES[box.kind], "label": graphviz.escape(self.slots(box.name))}

    def slots(self, group: str) -> str:
        """`k = 1…3`, or the count in place of the number; or the name of a sub-model."""
        return self.sketch.labels[group].text

    def node(self, part: graphviz.Digraph, name: str) -> None:
        """A variable under the symbol that it has in its sub-model, over the plates that are no boxes."""
        node, seen = self.sketch.nodes[name], name in self.half.nodes
        double = {"peripheries": "2"} if node.double and seen else {}
        crossed = [plate for plate in self.sketch.nested.crossing if name in self.sketch.members(plate)]
        label = "\\n".join(map(graphviz.escape, [node.symbol.text, *map(self.slots, crossed)]))
        part.node(f"{self.half.name}.{name}", **{"label": label, **LOOKS[node.look if seen else "absent"], **double})

    def arrow(self, link: Link) -> dict[str, str]:
        """How a link looks: an arrow down, an arrow up, or nothing at all."""
        style, edges = ARROWS[self.half.name], self.half.edges
        if link.previous:
            label = graphviz.escape(f" {self.sketch.index(link.previous).text}−1")
            seen = Edge(link.upper, link.lower, link.previous) in edges
            return {"style": style if seen else "invis", "label": label, **_NEXT}
        attributes = {} if link.ranked else {"constraint": "false"}
        if Edge(link.upper, link.lower) in edges:
            return {"style": style, **attributes}
        if Edge(link.lower, link.upper) in edges:
            return {"style": style, "dir": "back", **attributes}
        return {"style": "invis", **attributes}


def _row(*nodes: str) -> graphviz.Digraph:
    """Nodes at the same height."""
    row = graphviz.Digraph(graph_attr={"rank": "same"})
    for node in nodes:
        row.node(node)
    return row
