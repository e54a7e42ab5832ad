"""A sketch and the positions of its nodes become a scene: `compose`.

The size of everything follows from that of the letters. Where a width is asked for, the largest letters with which it suffices
are taken, and the smallest that are tried have 7 points; a picture that does not fit then has its panels one above the other,
or the width that it needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, cast

from graphvae.diagrams.arrange import above, beside, panel_box, total_width
from graphvae.diagrams.curves import around
from graphvae.diagrams.drawing import Drawing
from graphvae.diagrams.layout import Positions, place
from graphvae.diagrams.metrics import METRICS, Metrics, size
from graphvae.diagrams.scene import Panel, Point, Scene, moved
from graphvae.diagrams.sketch import Half, Sketch, before
from graphvae.diagrams.typeset import extent
from graphvae.diagrams.words import CAPTION, captions, description, legend

WIDTHS = {"one-column": 3.25 * 72, "two-column": 6.75 * 72}
_EDGE = 2.0


@dataclass(frozen=True)
class Composed:
    """A scene, where its nodes stand, and whether it has the width that was asked for."""

    scene: Scene
    positions: Positions
    fits: bool


def compose(sketch: Sketch, pinned: Mapping[str, Point]) -> Composed:
    """The picture. A pinned node stands where it is told to."""
    target = WIDTHS[sketch.style.width] if sketch.style.width else math.inf

    @cache
    def drawn(metrics: Metrics) -> tuple[Positions, list[Panel]]:
        positions = {**_positions(sketch, metrics), **pinned}
        return positions, _panels(sketch, positions, metrics)

    for arrange, metrics in product((beside, above), METRICS if sketch.style.width else METRICS[:1]):
        positions, panels = drawn(metrics)
        arranged = arrange(panels)
        if total_width(arranged) <= target - 2 * _EDGE:
            return Composed(_scene(sketch, arranged, metrics, target), positions, fits=True)
    return Composed(_scene(sketch, arranged, metrics, 0.0), positions, fits=False)


def _positions(sketch: Sketch, metrics: Metrics) -> Positions:
    """The positions that Graphviz gives, with room for loops, factors and labels of arrows."""
    later = [edge for half in (sketch.p, sketch.q) for edge in half.edges if edge.previous]
    loops = {edge.tail: edge for edge in later if edge.tail == edge.head}
    more = 3 * metrics.small * (sketch.style.detail == "full") + metrics.small * (len(later) > len(loops))
    aside = {name: 0.5 * metrics.node + extent(before(sketch, edge), metrics.small)[0] + 2 for name, edge in loops.items()}
    sizes = {name: size(sketch, name, metrics) for name in sketch.nodes}
    room = {name: (width + aside.get(name, 0.0), height) for name, (width, height) in sizes.items()}
    found = place(sketch, room, metrics.gap + more, metrics.rank + more, metrics.margin, metrics.small)
    return {name: (across - aside.get(name, 0.0) / 2, up) for name, (across, up) in found.items()}


def _panels(sketch: Sketch, positions: Positions, metrics: Metrics) -> list[Panel]:
    halves = {"p": sketch.p, "q": sketch.q}
    view = sketch.style.view
    if view == "overlay":
        return [_panel(sketch, "overlay", list(halves.values()), positions, metrics, "")]
    names = ("p", "q") if view == "both" else (view,)
    letters = ("a", "b") if view == "both" else ("",)
    return [
        _panel(sketch, cast(Any, name), [halves[name]], positions, metrics, letter)
        for name, letter in zip(names, letters, strict=True)
    ]


def _panel(sketch: Sketch, name: str, halves: Sequence[Half], positions: Positions, metrics: Metrics, letter: str) -> Panel:
    """Loops and factors first, since frames hold them; then frames, since arrows keep off their labels; then arrows."""
    drawing = Drawing(sketch, halves, positions, metrics)
    drawing.loops()
    if sketch.style.detail == "full":
        drawing.factors()
    drawing.frames()
    drawing.arrows()
    if sketch.style.detail != "minimal":
        drawing.rows()
    if sketch.style.detail == "full":
        drawing.parameters()
    panel = Panel(
        cast(Any, name),
        tuple(drawing.framed),
        tuple(drawing.drawn),
        tuple(drawing.squares),
        tuple(drawing.marks.values()),
        (),
    )
    return replace(panel, texts=tuple(captions(sketch, halves, letter, panel_box(panel), metrics)))


def _scene(sketch: Sketch, panels: list[Panel], metrics: Metrics, target: float) -> Scene:
    """The panels over their legend, in the middle of a picture as wide as was asked for."""
    box = around(map(panel_box, panels))
    wide = max(box[2] - box[0], target - 2 * _EDGE) if math.isfinite(target) else box[2] - box[0]
    if sketch.style.legend:
        panels = [*panels, legend(sketch, panels, box, max(wide, CAPTION), metrics)]
        box = around(map(panel_box, panels))
    width = max(box[2] - box[0] + 2 * _EDGE, target if math.isfinite(target) else 0.0)
    across = width / 2 - (box[0] + box[2]) / 2
    placed = tuple(moved(panel, across, _EDGE - box[1]) for panel in panels)
    return Scene(sketch.graph.spec.model, description(sketch), width, box[3] - box[1] + 2 * _EDGE, placed)
