"""p and q side by side, as a picture in DOT text.

The verb is `to_dot`. A variable is white where it is latent, grey where it is observed, half grey where it is supervised,
double where it is deterministic, and a bare name where it is a covariate. The arrows of p are solid, and those of q dashed.

Both panels hold the same variables and the same links, and what does not belong to a panel is invisible there: so the layout
engine gives both the same order. Ranks run from top to bottom as p does, from causes down to what is observed.
"""

from __future__ import annotations

from dataclasses import dataclass

import graphviz

from graphvae.compiler.graph import ModelGraph, Side

LOOKS = {
    "latent": {"fillcolor": "white"},
    "observed": {"fillcolor": "gray85"},
    "supervised": {"fillcolor": "gray85;0.5:white"},
    "deterministic": {"fillcolor": "white", "peripheries": "2"},
    "given": {"shape": "plaintext", "style": "", "width": "0", "height": "0"},
    "absent": {"label": "", "style": "invis", "width": "0.05", "margin": "0"},
}
ARROWS = {"p": "solid", "q": "dashed"}

_GRAPH = {"newrank": "true", "pad": "0.1", "nodesep": "0.35", "ranksep": "0.4", "fontname": "Times-Italic"}
_NODE = {"shape": "ellipse", "style": "filled", "width": "0.8", "height": "0.8", "margin": "0.05", "fontname": "Times-Italic"}
_EDGE = {"arrowsize": "0.7"}
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
    links = _links(graph)
    for letter, side in (("a", graph.p), ("b", graph.q)):
        picture.subgraph(_panel(graph, side, letter, links))
    for name in graph.variables:
        picture.subgraph(_row(f"p.{name}", f"q.{name}"))
    return str(picture.source)


@dataclass(frozen=True)
class _Link:
    """Two variables with an arrow between them in p or in q. Only a ranked link puts one of them above the other."""

    upper: str
    lower: str
    ranked: bool


def _links(graph: ModelGraph) -> list[_Link]:
    """The links of p, then what q adds: a variable that is private to q stands above its parents and below its children."""
    links = [_Link(parent, child, ranked=True) for parent, child in graph.p.edges]
    for parent, child in graph.q.edges:
        if (parent, child) in graph.p.edges or (child, parent) in graph.p.edges:
            continue
        if parent in graph.p.parents and child in graph.p.parents:
            links.append(_Link(parent, child, ranked=False))
        else:
            links.append(_Link(child, parent, ranked=True))
    return links


def _panel(graph: ModelGraph, side: Side, letter: str, links: list[_Link]) -> graphviz.Digraph:
    """A side's variables and arrows over its caption."""
    label = graphviz.escape(f"({letter}) {side.factorisation}")
    panel = graphviz.Digraph(f"cluster_{side.name}", graph_attr={**_PANEL, "label": label})
    for name, variable in graph.variables.items():
        takes_part = name in side.conditionals or name in side.conditioned
        look = LOOKS[variable.role if takes_part else "absent"]
        panel.node(f"{side.name}.{name}", **{"label": graphviz.escape(name), **look})
    for link in links:
        panel.edge(f"{side.name}.{link.upper}", f"{side.name}.{link.lower}", **_arrow(side, link))
    return panel


def _arrow(side: Side, link: _Link) -> dict[str, str]:
    """How a link looks in a panel: an arrow down, an arrow up, or nothing at all."""
    ranks = {} if link.ranked else {"constraint": "false"}
    if (link.upper, link.lower) in side.edges:
        return {"style": ARROWS[side.name], **ranks}
    if (link.lower, link.upper) in side.edges:
        return {"style": ARROWS[side.name], "dir": "back", **ranks}
    return {"style": "invis", **ranks}


def _row(*nodes: str) -> graphviz.Digraph:
    """Nodes at the same height."""
    row = graphviz.Digraph(graph_attr={"rank": "same"})
    for node in nodes:
        row.node(node)
    return row
