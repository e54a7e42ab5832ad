"""The picture of a graph inside a page. The verb is `picture`."""

from __future__ import annotations

from graphvae.compiler.graph import ModelGraph
from graphvae.diagrams.compose import compose
from graphvae.diagrams.sketch import sketch
from graphvae.diagrams.svg import to_svg


def picture(graph: ModelGraph) -> str:
    """P and q as SVG, without the line that only a file begins with.

    >>> from graphvae.compiler.check import read_graph
    >>> picture(read_graph("specs/digits.yaml"))[:4]
    '<svg'
    """
    drawn = sketch(graph)
    text = to_svg(compose(drawn, drawn.placed({})).scene).decode()
    return text[text.index("<svg") :]
