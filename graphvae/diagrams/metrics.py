"""How large everything in a picture is: `Metrics`, and the `size` of a node. All of it follows from the size of letters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphvae.diagrams.sketch import Sketch
from graphvae.diagrams.typeset import extent

SQUARE = 5.0


@dataclass(frozen=True)
class Metrics:
    """Lengths in points: letters of names and of all else, marks, between neighbours and ranks, around what a frame holds."""

    name: float
    small: float
    node: float
    gap: float
    rank: float
    margin: float

    @property
    def band(self) -> float:
        """The height of a line of small text."""
        return 1.3 * self.small


METRICS = (Metrics(9, 7.5, 27, 18, 24, 7), Metrics(8, 7, 23, 13, 19, 6), Metrics(7, 7, 19, 9, 15, 5))


def size(sketch: Sketch, name: str, metrics: Metrics) -> tuple[float, float]:
    """An ellipse around the symbol that is not smaller than a circle; less where there is no outline."""
    node = sketch.nodes[name]
    width, above, below = extent(node.symbol, metrics.name)
    high = 2 * max(above, below)
    if node.look == "given":
        return width + 4, high + 4
    inset = 4 * node.double
    if node.look == "sub-model":
        return max(width + 10, metrics.node), max(high + 8, 0.8 * metrics.node)
    height = max(metrics.node, high * 1.25 + 4) + inset / 2
    share = math.sqrt(1 - min(0.8, (0.8 * high / (height - inset)) ** 2))
    return max(height, (width + 4) / share + inset), height
