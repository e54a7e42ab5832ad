r"""p and q as a flowchart of Mermaid, which GitHub and other pages draw. The verb is `to_mermaid`.

Boxes are nested as Graphviz has them: a plate that would cross one is named below the names of its variables. A half-grey node
is beyond Mermaid: a supervised variable is light grey, with a half-filled circle behind its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from graphvae.diagrams.boxes import Box
from graphvae.diagrams.sketch import Edge, Half, Node, Sketch, factorisation

_LINE = "stroke:#000000,color:#000000"
LOOKS = {
    "latent": f"fill:#ffffff,{_LINE}",
    "observed": f"fill:#bfbfbf,{_LINE}",
    "supervised": f"fill:#dfdfdf,{_LINE}",
    "deterministic": f"fill:#ffffff,{_LINE}",
    "given": "fill:none,stroke:none",
    "submodel": f"fill:#ffffff,{_LINE}",
    "box": "fill:none,stroke:#000000",
    "panel": "fill:none,stroke:none",
}
ARROWS = {"p": "-->", "q": "-.->"}


def to_mermaid(sketch: Sketch) -> str:
    """The text of a .mmd file, or of a block ```mermaid in Markdown.

    >>> from graphvae.compiler.check import read_graph
    >>> from graphvae.diagrams.sketch import sketch
    >>> text = to_mermaid(sketch(read_graph("specs/digits.yaml")))
    >>> [line.strip() for line in text.splitlines() if "digit" in line and "p-" in line]
    ['p-digit(("digit ◐")):::supervised', 'p-digit --> p-image']
    """
    halves = {"p": (sketch.p,), "q": (sketch.q,), "both": (sketch.p, sketch.q), "overlay": (sketch.p, sketch.q)}
    lines = [f"%% {sketch.graph.spec.model}", "flowchart TB"]
    for half in halves[sketch.style.view]:
        lines += [f"  {line}" for line in _Panel(sketch, half).lines()]
    lines += [f"  classDef {look} {style}" for look, style in LOOKS.items()]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Panel:
    sketch: Sketch
    half: Half

    def lines(self) -> Iterator[str]:
        """A box without a border, around everything."""
        side, nested = self.half.name, self.sketch.nested
        yield f"subgraph {side}[{_quoted(factorisation(self.sketch, self.half))}]"
        yield from _indented(self.inside(nested.variables, nested.boxes))
        yield from _indented(map(self.edge, self.half.edges))
        yield "end"
        yield f"class {side} panel"

    def inside(self, names: Iterable[str], boxes: Iterable[Box]) -> Iterator[str]:
        """Nodes that take part, and boxes that have some."""
        yield from (self.node(self.sketch.nodes[name]) for name in names if name in self.half.nodes)
        for box in boxes:
            if any(name in self.half.nodes for name in box.members):
                name = f"{self.name(box.name)}-{'plate' if box.kind == 'plate' else 'submodel'}"
                yield f"subgraph {name}[{_quoted(self.sketch.labels[box.name].text)}]"
                yield from _indented(self.inside(box.variables, box.boxes))
                yield "end"
                yield f"class {name} box"

    def node(self, node: Node) -> str:
        """A circle, two for what is computed, a rectangle for a sub-model, or a bare name."""
        crossed = [plate for plate in self.sketch.nested.crossing if node.name in self.sketch.members(plate)]
        lines = [node.symbol.text + " ◐" * (node.look == "supervised"), *(self.sketch.labels[plate].text for plate in crossed)]
        left, right = ("[", "]") if node.look in ("given", "sub-model") else ("(((", ")))") if node.double else ("((", "))")
        return f"{self.name(node.name)}{left}{_quoted('<br>'.join(lines))}{right}:::{node.look.replace('-', '')}"

    def edge(self, edge: Edge) -> str:
        label = f"|{_quoted(f'{self.sketch.index(edge.previous).text}−1')}|" if edge.previous else ""
        return f"{self.name(edge.tail)} {ARROWS[self.half.name]}{label} {self.name(edge.head)}"

    def name(self, name: str) -> str:
        """A name that means nothing to Mermaid, of which no two are alike."""
        return f"{self.half.name}-{re.sub('[.]', '-', name)}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _quoted(text: str) -> str:
    return f'"{text}"'
